"""The station: everything of it put together, and the traffic between its parts.

A press walks one way: line → `Panel` → event → `Interpreter` → core → effects → hub. So does a packet: network →
media → playout thread → card. What the parts report comes back as events; what people see follows from the state alone.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from intercomd.core.debounce import Debounce, OpenWindow, Pass, expire, offer
from intercomd.core.door import Remote
from intercomd.core.events import (
    AnswerRequested,
    CallPressed,
    CandidateGathered,
    Card,
    CardChanged,
    Described,
    DoorPressed,
    Event,
    HangupPressed,
    LinkDown,
    LinkUp,
    MediaLost,
    MediaSilent,
    MediaUp,
    PathChanged,
    Received,
    SpeakerPressed,
    VolumeStepped,
)  # fmt: skip
from intercomd.core.panel import Surroundings, View, view
from intercomd.core.protocol import Notice, Reply, Request
from intercomd.core.station import ANSWERED, Phase, Station
from intercomd.core.vocabulary import Candidate, Metrics, Sdp
from intercomd.device.asking import Asking
from intercomd.device.control import Answer, Control
from intercomd.device.door import Door
from intercomd.device.figures import CallFigures
from intercomd.device.health import process_age_s, process_figures
from intercomd.device.interpreter import Interpreter
from intercomd.device.memory import Tidying
from intercomd.device.network import change_words, followed, link_rerouted, path_doubt
from intercomd.device.orders import Orders
from intercomd.device.panel import Panel
from intercomd.device.proving import Proving
from intercomd.device.servers import IceServers
from intercomd.device.settled_line import SettledLine
from intercomd.device.status import status, words
from intercomd.errors import ErrorCode
from intercomd.ids import fresh_call_id
from intercomd.media.engine import Engine
from intercomd.ports import Journal, LinkStatus, Media, Paths, PinsError, Signalling, Supervisor
from intercomd.texts import Language

METRICS_PERIOD_S = 5.0
XRUN_REPORT_PERIOD_S = 60.0
FAILED_ATTEMPTS_SHOWN = 5
LOCATE_S = 15.0

_CARD_CODES = {Card.MISSING: ErrorCode.CARD_MISSING, Card.BUSY: ErrorCode.CARD_BUSY, Card.DENIED: ErrorCode.CARD_DENIED}


@dataclass(slots=True)
class Parts:
    """What a station is made of."""

    interpreter: Interpreter
    panel: Panel
    control: Control
    engine: Engine
    media: Media
    figures: CallFigures
    signalling: Signalling
    journal: Journal
    supervisor: Supervisor
    ice: IceServers


def _hub_code(link: LinkStatus) -> ErrorCode | None:
    if link.state == "refused":
        return ErrorCode.HUB_REFUSED
    if link.cause is not None:
        return link.cause
    return ErrorCode.HUB_UNREACHABLE if link.failed_attempts >= FAILED_ATTEMPTS_SHOWN else None


class Daemon:
    """Listens to all parts. Lives on the event loop; `card_changed`, `microphone_changed` and `xrun` come from the
    audio threads and hop. Implements `ports.MediaListener` and `control.Commands`."""

    def __init__(
        self,
        name: str,
        language: Language,
        buttons: frozenset[str],
        pins_simulated: bool,
        *,
        push_to_talk: bool = False,
        outputs: frozenset[str] = frozenset(),
        door_open_s: float = 3.0,
        remote_door: Remote = "always",
    ) -> None:
        self._name = name
        self._language = language
        self._buttons = buttons
        self._simulated = pins_simulated
        self._loop = asyncio.get_running_loop()
        self._parts: Parts | None = None
        self._microphone_open = False
        self._half_duplex = False
        self._push_to_talk = push_to_talk
        self._followed = [SettledLine("speaker", self._talk)] if push_to_talk else []
        if "hook" in buttons:
            self._followed.append(SettledLine("hook", self._hook_changed))
        self._outputs = outputs
        self.door = Door(
            lambda: self.parts.panel.switch_on("door", door_open_s),
            self._report,
            self._talk_id,
            remote=remote_door,
            has_opener="door" in outputs,
            open_s=door_open_s,
        )
        self._card_reason = ""
        self._pins_code: ErrorCode | None = None
        self._xrun_reported_s = float("-inf")
        self._sought_until_s = float("-inf")
        self._metrics: Debounce[str, Metrics] = Debounce(METRICS_PERIOD_S)
        self._view: View | None = None
        self._status_text = ""
        self._was_ready = False
        self._paths: Paths | None = None
        self._tidying = Tidying()
        self._proving = Proving(self._loop, lambda: self.parts.engine, self.refresh)
        self._orders = Orders(
            lambda: self._station,
            self.post,
            self._kept,
            Asking(self._ask_hub, self._now_s, self._talk_with, language),
            {
                "door": lambda _arguments: self.door.open(),
                "locate": self._locate,
                "drive": self._drive,
                "prove": lambda order: self._proving.command(order, self._station),
            },
            language,
        )
        self.usable = asyncio.Event()
        """The card's and the link's first word are in: systemd may be told that we are ready."""
        self._first_words: set[str] = set()

    @property
    def parts(self) -> Parts:
        assert self._parts is not None
        return self._parts

    def assemble(self, parts: Parts) -> None:
        self._parts = parts

    def post(self, event: Event) -> None:
        self.parts.interpreter.post(event)

    # ------------------------------------------------------------------------------------------------------- panel

    def start_panel(self) -> None:
        refused = self.parts.panel.start()
        for error in refused:
            self.parts.journal.report(error.code, reason=str(error))
        self._pins_code = refused[0].code if refused else None
        levels = self.parts.panel.levels()
        for line in self._followed:
            line.begin(levels)

    def pressed(self, button: str) -> None:
        """A press that counts."""
        if self._proving.active:
            return
        match button:
            case "call":
                self.post(CallPressed(fresh_call_id()))
            case "hangup":
                self.post(HangupPressed())
            case "unlock":
                self.post(DoorPressed())
            case "speaker" if not self._push_to_talk:
                self.post(SpeakerPressed())
            case "volume_up" | "volume_down":
                self.post(VolumeStepped(louder=button == "volume_up"))

    def _hook_changed(self, on_hook: bool) -> None:
        """Lifting the handset answers, putting it down hangs up; lifted in idle it waits for the call button."""
        self.post(HangupPressed() if on_hook else AnswerRequested())

    def _report(self, code: ErrorCode, message: str = "", **fields: str | int | float) -> None:
        self.parts.journal.report(code, message, **fields)

    def _ask_hub(self, request: Request, limit_s: float) -> Awaitable[Reply]:
        return self.parts.signalling.request(request, limit_s)

    def _now_s(self) -> float:
        return self.parts.interpreter.outside.clock()

    def _talk_id(self) -> str | None:
        """Of the answered call that this station is in."""
        call = self._station.call
        return call.call_id if call is not None and call.phase in ANSWERED else None

    def _talk_with(self, station: str) -> str | None:
        """The same, if it is with this one."""
        call = self._station.call
        return self._talk_id() if call is not None and call.peer_id == station else None

    def held(self, button: str) -> None:
        """Hang-up held for long while idle: the technician's sign of life, a line with the station's state."""
        if button == "hangup":
            link = self.parts.signalling.status
            self.parts.journal.report(
                ErrorCode.STATION_STARTED,
                "the hang-up button was held: this is the station's state",
                reason=f"link {link.state}, card {self._station.card.value}, view {self._view}",
            )

    def edge(self, line: str, value: bool, at_ns: int) -> None:
        self.parts.control.edge(line, value, at_ns)
        for contact in self._followed:
            contact.edge(line, value)
        self.parts.control.changed()

    # ------------------------------------------------------------------------------------------------ audio threads

    def card_changed(self, card: Card, message: str) -> None:
        self._loop.call_soon_threadsafe(self._card_changed, card, message)

    def _card_changed(self, card: Card, message: str) -> None:
        before = self._station.card
        self._card_reason = "" if card is Card.READY else message
        self.post(CardChanged(card))
        code = _CARD_CODES.get(card, ErrorCode.CARD_READY)
        if card is Card.MISSING and before is Card.READY:
            code = ErrorCode.CARD_VANISHED
        kind = code.value.kind
        fields = {"error_type": kind.value} if kind else {}
        self.parts.journal.report(code, reason=message, **fields)
        self._heard("card")

    def microphone_changed(self, is_open: bool) -> None:
        self._loop.call_soon_threadsafe(self._microphone_changed, is_open)

    def _microphone_changed(self, is_open: bool) -> None:
        self._microphone_open = is_open
        self.refresh()

    def half_duplex_changed(self, active: bool) -> None:
        self._loop.call_soon_threadsafe(self._half_duplex_changed, active)

    def _half_duplex_changed(self, active: bool) -> None:
        self._half_duplex = active
        erle_db = self.parts.engine.voice.erle_db
        if active and erle_db is not None:
            self.parts.journal.report(ErrorCode.ECHO_LEFT, reason=f"the echo is weaker by {erle_db:.0f} dB only")
        self.refresh()

    def _talk(self, pressed: bool) -> None:
        self.parts.engine.talk(pressed)

    def canceller_failed(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._canceller_failed, reason)

    def _canceller_failed(self, reason: str) -> None:
        self.parts.journal.report(ErrorCode.NO_CANCELLER, reason=reason)

    def xrun(self, direction: str, frames: int) -> None:
        self._loop.call_soon_threadsafe(self._xrun, direction, frames)

    def _xrun(self, direction: str, frames: int) -> None:
        """The first one of a minute is told; all are counted in the status."""
        now_s = time.monotonic()
        if now_s - self._xrun_reported_s > XRUN_REPORT_PERIOD_S:
            self._xrun_reported_s = now_s
            xruns = self.parts.engine.levels().xruns
            self.parts.journal.report(ErrorCode.XRUN, reason=f"{direction}: {frames} frames lost", xruns=xruns)

    # --------------------------------------------------------------------------------------------- media, MediaListener

    def described(self, epoch: int, sdp: Sdp) -> None:
        self.post(Described(epoch, sdp))

    def candidate_gathered(self, epoch: int, candidate: Candidate | None) -> None:
        self.post(CandidateGathered(epoch, candidate))

    def media_up(self, epoch: int) -> None:
        self.post(MediaUp(epoch))

    def media_silent(self, epoch: int) -> None:
        self.post(MediaSilent(epoch))

    def media_lost(self, epoch: int, reason: str) -> None:
        self.parts.ice.doubt()
        self.post(MediaLost(epoch, reason))

    # -------------------------------------------------------------------------------------------------------- the link

    def link_changed(self, is_up: bool) -> None:
        self.door.connection_changed()
        self.post(LinkUp() if is_up else LinkDown())
        if not is_up:
            self._heard("link")

    def noticed(self, notice: Notice) -> None:
        self.post(Received(notice))

    def network_is(self, paths: Paths) -> None:
        """How it is at the start, or how it has become: the link is looked at at once, and a call whose packets can
        hardly go on as they did is rebuilt."""
        before, self._paths = self._paths, followed(self._paths, paths) if self._paths else paths
        if before is None:
            return
        parts = self.parts
        parts.journal.report(ErrorCode.NETWORK_CHANGED, reason=change_words(before, paths))
        parts.ice.look_again()
        parts.signalling.kick(rerouted=link_rerouted(before, paths, is_up=parts.signalling.status.state == "up"))
        doubt = path_doubt(before, paths, parts.media.local_address)
        if doubt is not None:
            self.post(PathChanged(doubt))

    def _heard(self, what: str) -> None:
        self._first_words.add(what)
        if self._first_words >= {"card", "link"}:
            self.usable.set()

    # -------------------------------------------------------------------------------------------- state, view, figures

    @property
    def _station(self) -> Station:
        return self.parts.interpreter.station

    def changed(self, station: Station) -> None:
        """After each event of the core, before its effects."""
        if station.call is not None:
            self._proving.end()
            self.parts.figures.follow(station.call.call_id)
        if station.registered:
            self._heard("link")
            if not self._was_ready and station.card is Card.READY:
                self._was_ready = True
                self.parts.journal.report(ErrorCode.STATION_READY, start_s=round(process_age_s(), 3))
        self.refresh()

    def refresh(self) -> None:
        """Panel, tones, systemd's status and watchers follow the state."""
        parts = self.parts
        link = parts.signalling.status
        around = Surroundings(
            self._microphone_open,
            _hub_code(link),
            self._pins_code,
            store_failing=parts.interpreter.store_failing,
            half_duplex=self._half_duplex,
            sought=self._loop.time() < self._sought_until_s,
        )
        now = view(self._station, around)
        self._view = now
        idle = self._station.call is None
        self._tidying.follow(idle)
        parts.panel.show(self._proving.lights(dict(now.lights)), idle=idle)
        parts.engine.loop(now.tone)
        said = words(self._station, now.phase)[self._language]
        if said != self._status_text:
            self._status_text = said
            parts.supervisor.status(said)
        parts.control.changed()

    def tick(self) -> None:
        """Every second: what changes without an event (link age, failing hub), and the call's figures."""
        if self._followed:
            levels = self.parts.panel.levels()
            for contact in self._followed:
                contact.reread(levels)
        self.parts.interpreter.look_at_store()
        self.refresh()
        call = self._station.call
        if call is not None and call.phase is Phase.CONNECTED:
            metrics = self.parts.figures.read()
            if metrics is not None:
                self._emit(*offer(self._metrics, call.call_id, metrics))

    def _emit(self, debounce: Debounce[str, Metrics], actions: Any) -> None:
        self._metrics = debounce
        for action in actions:
            match action:
                case Pass(_, metrics):
                    self.parts.interpreter.send_metrics(metrics)
                case OpenWindow(key, delay_s):
                    self._loop.call_later(delay_s, self._window_over, key)

    def _window_over(self, key: str) -> None:
        self._emit(*expire(self._metrics, key))

    def status(self) -> dict[str, Any]:
        parts = self.parts
        return status(
            self._station,
            self._view or view(self._station, Surroundings()),
            parts.signalling.status,
            parts.engine.levels(),
            parts.panel.levels(),
            parts.panel.patterns,
            parts.figures.read() if self._station.call is not None else None,
            name=self._name,
            first_voice_ns=parts.media.first_voice_ns,
            voice=parts.engine.voice,
            process=process_figures(),
            store_failing=parts.interpreter.store_failing,
            buttons=self._buttons,
            outputs=self._outputs,
            ice=parts.ice.status(),
            card_reason=self._card_reason,
            drift_ppm=parts.media.drift_ppm,
        ) | {"proof": self._proving.status()}

    # ---------------------------------------------------------------------------------------------- control, Commands

    def command(self, name: str, arguments: dict[str, Any]) -> Answer | Awaitable[Answer]:
        return self._orders.command(name, arguments)

    def _kept(self) -> Awaitable[bool]:
        return self.parts.interpreter.kept()

    def _locate(self, _arguments: dict[str, Any]) -> str | None:
        if self._station.call is not None:
            return "this station is in a call"
        self._sought_until_s = self._loop.time() + LOCATE_S
        self._loop.call_later(LOCATE_S, self.refresh)
        self.refresh()
        return None

    def _drive(self, arguments: dict[str, Any]) -> str | None:
        if not self._simulated:
            return "the lines of this station are real: press the button"
        try:
            self.parts.panel.drive(str(arguments.get("button")), arguments.get("pressed") is True)
        except PinsError as error:
            return str(error)
        return None
