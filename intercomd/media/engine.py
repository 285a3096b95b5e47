"""The audio engine: one thread for playout, one for capture, and the orders that the station gives them.

Nothing else in the process opens a PCM. Orders return at once; what came of them is heard through the callbacks, which
run in the audio threads and must neither block nor call back into the engine.
"""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from intercomd.core.effects import Jingle, Tone
from intercomd.core.events import Card
from intercomd.core.snapshot import Route, Volumes
from intercomd.media.canceller import VoiceStatus
from intercomd.media.clock import Clock, SystemClock
from intercomd.media.echo_delay import chirp
from intercomd.media.lines import CaptureLine, PlayoutLine
from intercomd.media.pcm import RATE_HZ, VoiceSink, VoiceSource
from intercomd.media.processing import VoiceProcessing
from intercomd.ports import Levels, SoundCard

STOP_LIMIT_S: Final = 1.5
_FIFO_PRIORITY: Final = 20
"""Above everything of ours, below the kernel's interrupt threads (50)."""
_NICE: Final = -11
"""What sound servers take where real time is not permitted."""


@dataclass(frozen=True, slots=True)
class AudioPcms:
    """The names of the PCMs of each route."""

    playout: Mapping[Route, str]
    capture: Mapping[Route, str]


class Engine:
    """Context manager; `start` once, `stop` any number of times."""

    def __init__(
        self,
        card: SoundCard,
        pcms: AudioPcms,
        source: VoiceSource,
        sink: VoiceSink,
        on_card: Callable[[Card, str], None],
        on_microphone: Callable[[bool], None],
        on_xrun: Callable[[str, int], None],
        *,
        route: Route = Route.SPEAKER,
        clock: Clock | None = None,
        processing: VoiceProcessing | None = None,
        push_to_talk: bool = False,
    ) -> None:
        """`on_card(state, message)` comes once for each change of the whole card: READY only when playout is open and
        a period has been captured. `on_microphone` follows the capture PCM. `on_xrun("playout" or "capture", frames)`.
        Without `processing` the microphone is sent as it is. `push_to_talk`: it opens only between `talk` orders.
        """
        clock = clock or SystemClock()
        self.failed: BaseException | None = None
        """What ended an audio thread that should live: the process's health."""
        self._pcms, self._stopping, self._xruns = pcms, False, 0
        self._on_xrun = on_xrun
        self._processing = processing
        self._ordered, self._talks = False, not push_to_talk
        self._push_to_talk = push_to_talk
        self._whole = _WholeCard(on_card)
        self._playout = PlayoutLine(
            card,
            pcms.playout[route],
            source,
            clock,
            self._playout_changed,
            lambda lost: self._xrun("playout", lost),
            processing,
        )
        self._capture = CaptureLine(
            card,
            pcms.capture[route],
            sink,
            clock,
            lambda state, message: self._whole.part("capture", state, message),
            lambda lost: self._xrun("capture", lost),
            on_microphone,
            processing,
        )
        if processing is not None:
            processing.play_chirp = lambda: self._playout.mixer.insert(chirp())
        self._threads = [
            threading.Thread(target=self._run, args=(self._playout,), name="playout", daemon=True),
            threading.Thread(target=self._run, args=(self._capture,), name="capture", daemon=True),
        ]

    def __enter__(self) -> "Engine":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Opens playout and probes capture, both in the background."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Closes both PCMs and joins both threads, each wait limited. A thread that does not end is in `failed`."""
        self._stopping = True
        self._wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_LIMIT_S / len(self._threads))
                if thread.is_alive():
                    self.failed = self.failed or TimeoutError(f"the thread {thread.name} does not end")
        if self._processing is not None:
            self._processing.close()

    # ---- orders

    def prepare(self) -> None:
        """Load what voice processing needs, in the background: there is time now. The first call does it otherwise."""
        if self._processing is not None:
            self._processing.start()

    def open_microphone(self) -> None:
        self.prepare()
        self._ordered = True
        self._follow_orders()

    def close_microphone(self) -> None:
        """The PCM closes after the period that is being read, 10 ms as a rule, 500 ms at most."""
        self._ordered = False
        self._follow_orders()

    def talk(self, pressed: bool) -> None:
        """With push-to-talk: while it is pressed in a call the microphone is open and the far end's voice is not
        heard. Without, this does nothing."""
        if self._push_to_talk:
            self._talks = pressed
            self._follow_orders()

    def _follow_orders(self) -> None:
        self._capture.wanted = self._ordered and self._talks
        self._playout.voice_muted = self._push_to_talk and self._capture.wanted
        self._capture.wake.set()

    def set_route(self, route: Route) -> None:
        """A PCM is opened anew only if its name differs."""
        self._capture.pcm = self._pcms.capture[route]
        self._playout.pcm = self._pcms.playout[route]
        self._wake()

    def set_volumes(self, volumes: Volumes) -> None:
        """Of the far end's voice, the ringing, and all other tones."""
        self._playout.mixer.set_volumes(volumes)

    def loop(self, tone: Tone | None) -> None:
        """Sound `tone` until the next order; None ends it."""
        self._playout.mixer.loop(tone)

    def play(self, jingle: Jingle) -> None:
        """Sound it once, over whatever else sounds."""
        self._playout.mixer.play(jingle)

    # ---- readings

    @property
    def microphone_open(self) -> bool:
        """The capture PCM is open for a call and moves."""
        return self._capture.live

    @property
    def voice(self) -> VoiceStatus:
        """What voice processing does."""
        return VoiceStatus() if self._processing is None else self._processing.status()

    def turns(self) -> Mapping[str, int]:
        """How often each audio thread has come round: proof of life, with or without a card."""
        return {"playout": self._playout.periods, "capture": self._capture.turns}

    def levels(self) -> Levels:
        """Any thread, no lock: each figure is right by itself. `periods_played` counts on without a card."""
        playout, capture = self._playout, self._capture
        return Levels(
            capture_dbfs=capture.meter.dbfs,
            playout_dbfs=playout.meter.dbfs,
            capture_open=capture.live,
            playout_open=playout.open,
            xruns=self._xruns,
            playout_queued_ms=playout.queued_frames * 1000 / RATE_HZ,
            periods_played=playout.periods,
            periods_captured=capture.periods,
        )

    # ---- in the audio threads

    def _run(self, line: PlayoutLine | CaptureLine) -> None:
        _hurry()
        _name_thread()
        try:
            try:
                while not self._stopping:
                    line.step()
            finally:
                line.close()
        except BaseException as error:  # noqa: BLE001  (a thread main: the watchdog must see why it is gone)
            self.failed = error

    def _playout_changed(self, state: Card, message: str) -> None:
        if state is Card.READY and self._whole.lost("playout"):
            # The card was away: whether its microphone came back too is not known before a period is read.
            self._capture.doubt()
        self._whole.part("playout", state, message)

    def _xrun(self, line: str, lost_frames: int) -> None:
        self._xruns += 1
        self._on_xrun(line, lost_frames)

    def _wake(self) -> None:
        self._playout.wake.set()
        self._capture.wake.set()


class _WholeCard:
    """One state out of two directions, told once per change: the first that fails, READY when both are."""

    def __init__(self, on_card: Callable[[Card, str], None]) -> None:
        self._on_card = on_card
        self._lock = threading.Lock()
        self._parts: dict[str, tuple[Card, str]] = {}
        self._told: Card | None = None

    def lost(self, part: str) -> bool:
        return self._state(part) not in (None, Card.READY)

    def part(self, part: str, state: Card, message: str) -> None:
        if self._state(part) is state:
            return
        with self._lock:
            self._parts[part] = (state, message)
            whole, reason = self._sum()
            if whole is not None and whole is not self._told:
                self._told = whole
                self._on_card(whole, reason)

    def _state(self, part: str) -> Card | None:
        return self._parts[part][0] if part in self._parts else None

    def _sum(self) -> tuple[Card | None, str]:
        for state, message in self._parts.values():
            if state is not Card.READY:
                return state, message
        if len(self._parts) < 2:
            return None, ""
        return Card.READY, " and ".join(message for _, message in self._parts.values())


def _name_thread() -> None:
    """For `top -H` and debuggers: Python tells the kernel only since 3.14 (proc(5), /proc/pid/task/tid/comm)."""
    with suppress(OSError), open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
        comm.write(threading.current_thread().name)


def _hurry() -> None:
    """Real time for this thread where it is permitted (LimitRTPRIO=), else a better nice value, else neither."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_FIFO_PRIORITY))
    except OSError:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
