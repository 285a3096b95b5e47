"""The one interpreter: takes events in their order, asks the core, carries out the effects in their order.

It runs on the event loop. An event is handled to its last effect before the next one is looked at; what takes time
(requests, media, timers, sounds) comes back as an event. A `Persist` is awaited, so nothing that follows leaves before
it is on flash; but a dying store never holds a call up: after `PERSIST_LIMIT_S` the effects go on and the state counts
as volatile until a write succeeds again (RELIABILITY.md).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from intercomd.core import call as core
from intercomd.core.effects import (
    AddCandidate,
    ApplyRemote,
    CancelTimer,
    CloseMicrophone,
    Effect,
    FlushOutbox,
    Jingle,
    OpenMicrophone,
    Persist,
    Play,
    PrepareMedia,
    Report,
    Send,
    SetRoute,
    SetVolumes,
    StartMedia,
    StartTimer,
    StopMedia,
)  # fmt: skip
from intercomd.core.events import ClockSet, Event, Replied, TimerFired, Unanswered
from intercomd.core.protocol import CallMetrics, Reply, Request
from intercomd.core.snapshot import Route, Volumes
from intercomd.core.station import Station, shown
from intercomd.core.vocabulary import IceServer, Metrics
from intercomd.errors import ErrorCode
from intercomd.ports import Journal, Media, Signalling, Store, StoreError, Unreachable

PERSIST_LIMIT_S = 0.3
CLOCK_TOLD_S = 60.0
"""A clock that was off by more is told to the technician: earlier lines of the journal have wrong times."""
_WITH_QUALITY = frozenset(
    {
        ErrorCode.CALL_CONNECTED,
        ErrorCode.CALL_RECONNECTING,
        ErrorCode.CALL_ENDED,
        ErrorCode.MEDIA_FAILED,
        ErrorCode.PEER_LOST,
    }
)
REQUEST_LIMIT_S = 5.0


class Sound(Protocol):
    """What the interpreter orders from the audio engine."""

    def open_microphone(self) -> None: ...
    def close_microphone(self) -> None: ...
    def set_route(self, route: Route) -> None: ...
    def set_volumes(self, volumes: Volumes) -> None: ...
    def play(self, jingle: Jingle) -> None: ...


class IceServers(Protocol):
    """Which STUN and TURN servers there are."""

    def heard(self, reply: Reply) -> None: ...
    def chosen(self) -> Sequence[IceServer]: ...


@dataclass(slots=True)
class Outside:
    """Everything that effects are carried out on."""

    media: Media
    sound: Sound
    store: Store
    signalling: Signalling
    journal: Journal
    clock: Callable[[], float]
    """Unix seconds that jump only by `follow_time`."""
    network: Callable[[], str]
    """The path to the hub and the call's, for the journal's NETWORK field."""
    flush_outbox: Callable[[], None]
    ice: IceServers
    """Hears of the hub's servers with each resync; chooses those that the next connection gets."""
    metrics: Callable[[], Metrics | None]
    """The call's figures so far, the station's own among them."""
    follow_time: Callable[[float], float | None] = lambda _: None
    """`StationClock.follow`."""


@dataclass(frozen=True, slots=True)
class _HubTime:
    """The hub's time as `StationClock.heard` gave it: it takes its turn among the events, so that none falls between
    the clock's move and that of the call's times."""

    offset_s: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """Done when its turn comes: all that was posted before it has been carried out."""

    reached: asyncio.Future[None]


@dataclass(slots=True)
class Interpreter:
    """`post` events, `run` for ever. `on_change` hears the state after each event, before its effects: a lamp does not
    wait for the flash."""

    station: Station
    outside: Outside
    on_change: Callable[[Station], None]
    store_failing: bool = False
    _events: asyncio.Queue[Event | _HubTime | _Mark] = field(default_factory=asyncio.Queue)
    _timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    _requests: set[asyncio.Task[None]] = field(default_factory=set)
    _last_metrics: Metrics | None = None
    _trace: Callable[[Event, tuple[Effect, ...], float], None] | None = None

    def post(self, event: Event) -> None:
        """From the event loop only; other threads hop by `call_soon_threadsafe`."""
        self._events.put_nowait(event)

    def hear_hub_time(self, offset_s: float) -> None:
        """`StationClock.heard`'s."""
        self._events.put_nowait(_HubTime(offset_s))

    async def kept(self) -> bool:
        """Whether all that was posted before now is carried out and lies on flash. Ends within the limit of each write
        that is due, while `run` runs."""
        mark = _Mark(asyncio.get_running_loop().create_future())
        self._events.put_nowait(mark)
        await mark.reached
        return not self.store_failing

    async def run(self) -> None:
        """Until cancelled. An exception here is a fault of ours and ends the process (crash-only)."""
        try:
            while True:
                match await self._events.get():
                    case _HubTime(offset_s):
                        await self._follow_time(offset_s)
                    case _Mark(reached):
                        if not reached.done():  # who waited may have gone
                            reached.set_result(None)
                    case event:
                        await self.handle(event)
        finally:
            for handle in self._timers.values():
                handle.cancel()
            for request in self._requests:
                request.cancel()
            await asyncio.gather(*self._requests, return_exceptions=True)

    def trace_into(self, write: Callable[[Event, tuple[Effect, ...], float], None]) -> None:
        """Log every step, for `intercomd replay`."""
        self._trace = write

    async def _follow_time(self, offset_s: float) -> None:
        shift_s = self.outside.follow_time(offset_s)
        if shift_s is None:
            return
        if abs(shift_s) > CLOCK_TOLD_S:
            self.outside.journal.report(ErrorCode.CLOCK_SET, reason=f"it was {-shift_s:+.0f} s off")
        await self.handle(ClockSet(shift_s))

    async def handle(self, event: Event) -> None:
        """One event and its effects."""
        now_s = self.outside.clock()
        if isinstance(event, Replied):
            self.outside.ice.heard(event.reply)
        self.station, effects = core.handle(self.station, event, now_s)
        if self._trace is not None:
            self._trace(event, effects, now_s)
        self.on_change(self.station)
        for effect in effects:
            await self._carry_out(effect)

    async def _carry_out(self, effect: Effect) -> None:
        outside = self.outside
        match effect:
            case Persist():
                await self._persist(effect)
            case Send(request):
                self._send(request)
            case PrepareMedia():
                outside.media.prepare(outside.ice.chosen())
            case StartMedia(_, epoch, offerer):
                outside.media.start(epoch, offerer, outside.ice.chosen())
            case StopMedia():
                outside.media.stop()
            case ApplyRemote(epoch, sdp):
                outside.media.apply(epoch, sdp)
            case AddCandidate(epoch, candidate):
                outside.media.add_candidate(epoch, candidate)
            case OpenMicrophone():
                outside.sound.open_microphone()
            case CloseMicrophone():
                outside.sound.close_microphone()
            case SetRoute(route):
                outside.sound.set_route(route)
            case SetVolumes(volumes):
                outside.sound.set_volumes(volumes)
            case Play(jingle):
                outside.sound.play(jingle)
            case StartTimer(timer, delay_s):
                self._cancel_timer(timer.kind)
                loop = asyncio.get_running_loop()
                self._timers[timer.kind] = loop.call_later(delay_s, self.post, TimerFired(timer))
            case CancelTimer(kind):
                self._cancel_timer(kind)
            case Report():
                self._report(effect)
            case FlushOutbox():
                outside.flush_outbox()

    def _cancel_timer(self, kind: str) -> None:
        handle = self._timers.pop(kind, None)
        if handle is not None:
            handle.cancel()

    async def _persist(self, effect: Persist) -> None:
        record = effect.record
        if record is not None:
            self._last_metrics = metrics = self.outside.metrics()
            if metrics is not None:
                record = msgspec.structs.replace(record, metrics=metrics)
                self._send(CallMetrics(record.call_id, metrics), silently=True)
        try:
            async with asyncio.timeout(PERSIST_LIMIT_S):
                await self.outside.store.save(effect.snapshot, record)
        except (StoreError, TimeoutError) as error:
            if not self.store_failing:
                reason = str(error) or f"a write took longer than {PERSIST_LIMIT_S} s"
                self.outside.journal.report(ErrorCode.STORE_FAILING, reason=reason)
            self.store_failing = True
        else:
            if self.store_failing:
                self.outside.journal.report(ErrorCode.STORE_RECOVERED)
            self.store_failing = False

    def look_at_store(self) -> None:
        """Now and then: a disk that hung or was full takes by itself what it owed, and that is told."""
        if self.store_failing and self.outside.store.is_written:
            self.store_failing = False
            self.outside.journal.report(ErrorCode.STORE_RECOVERED)

    def _send(self, request: Request, *, silently: bool = False) -> None:
        task = asyncio.get_running_loop().create_task(self._request(request, silently))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _request(self, request: Request, silently: bool) -> None:
        try:
            reply = await self.outside.signalling.request(request, REQUEST_LIMIT_S)
        except Unreachable:
            if not silently:
                # A person may be waiting for this: do not sit out the back-off.
                self.outside.signalling.kick()
                self.post(Unanswered(request))
        else:
            if not silently:
                self.post(Replied(request, reply))

    def send_metrics(self, metrics: Metrics) -> None:
        """The running call's figures, while it is connected."""
        call = self.station.call
        if call is not None:
            self._send(CallMetrics(call.call_id, metrics), silently=True)

    def _report(self, report: Report) -> None:
        fields: dict[str, str | int | float] = {"phase": shown(self.station.call).value}
        fields["network"] = self.outside.network()
        if report.call_id:
            fields["call_id"] = report.call_id
        if report.peer:
            fields["peer"] = report.peer
        if report.epoch:
            fields["epoch"] = report.epoch
        if report.reason:
            fields["reason"] = report.reason
        if report.code.value.kind is not None:
            fields["error_type"] = report.code.value.kind.value
        if report.code in _WITH_QUALITY:
            fields.update(quality_fields(self.outside.metrics() or self._last_metrics))
        self.outside.journal.report(report.code, "", **fields)


def quality_fields(metrics: Metrics | None) -> dict[str, float | int]:
    """A call's figures as journal fields, with the units in their names."""
    if metrics is None:
        return {}
    named: dict[str, float | int | None] = {
        "loss_packets": metrics.audio_packets_lost,
        "jitter_ms": _ms(metrics.jitter),
        "rtt_ms": _ms(metrics.round_trip_time),
        "connect_ms": _ms(metrics.connection_time),
        "buffer_ms": _ms(metrics.buffer_delay),
        "buffer_target_ms": _ms(metrics.buffer_target),
        "concealed_ratio": metrics.concealed_ratio,
        "concealed_ms": _ms_of(metrics.concealed_frames),
        "recovered_ms": _ms_of(metrics.recovered_frames),
        "stretched_ms": _ms_of(metrics.stretched_frames),
        "late_packets": metrics.late_packets,
        "left_out_packets": metrics.left_out_packets,
        "mouth_to_ear_ms": _ms(metrics.mouth_to_ear),
        "mos": metrics.mos,
        "erle_db": metrics.erle_db,
        "xruns": metrics.xruns,
        "drift_ppm": metrics.drift_ppm,
        "cpu_ratio": metrics.cpu_ratio,
        "duration_s": metrics.call_duration,
    }
    return {name: value for name, value in named.items() if value is not None}


def _ms_of(frames: int | None) -> float | None:
    """Frames of 48 kHz."""
    return None if frames is None else round(frames / 48, 1)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
