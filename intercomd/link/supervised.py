"""Signalling under the supervisor of `core/link.py`, whatever carries it: timers, attempts, who may speak when.

A carrier (`Connection`) makes one attempt and lives for one connection; it tells its `Line` what happens. Here the
supervisor's effects are carried out, requests find the connection that is up, and the hub's payloads are checked.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol, assert_never

from intercomd.core import link
from intercomd.core.effects import Report
from intercomd.core.protocol import (
    HUB_HEARTBEAT_EVENT,
    NOTICES,
    Code,
    DoorCommand,
    DoorReply,
    Heartbeat,
    Notice,
    Reply,
    Request,
)
from intercomd.core.vocabulary import BadMessage, decode, encode
from intercomd.errors import ErrorCode
from intercomd.ports import Journal, LinkStatus, Unreachable

MAX_COMPLAINTS = 16
"""Lines about messages of the wrong shape, per connection: one for each event and kind of mistake."""

MAX_TIME_S = 10_000_000_000.0
"""The year 2286: what is later is no time."""

Json = Any


class Connection(Protocol):
    """One attempt and, if it succeeds, its connection. All on the event loop."""

    def start(self) -> None:
        """Try, in the background. The outcome is told to the line."""
        ...

    async def close(self) -> None:
        """Let go of everything, within a limit. Who awaits an answer gets `Unreachable`. Nothing is heard after it."""
        ...

    async def ask(self, event: str, payload: Json, deadline_s: float) -> tuple[Json, ...]:
        """The arguments of the acknowledgement. Raises `Unreachable`."""
        ...

    async def tell(self, event: str, payload: Json, acknowledged: Callable[[], None]) -> None:
        """Send without waiting; `acknowledged` is called in time, late, or never. Nothing happens when it is broken."""
        ...


class Line:
    """What a connection may say to its supervisor."""

    def __init__(
        self,
        attempt: int,
        hear: Callable[[link.Event], None],
        received: Callable[[int, str, tuple[Json, ...]], Json],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.attempt = attempt
        self.fail = fail
        """Something that must not happen: ends the link's `run`."""
        self._hear = hear
        self._received = received

    def connected(self) -> None:
        """The hub has accepted."""
        self._hear(link.Connected(self.attempt, time.monotonic()))

    def refused(self, code: str) -> None:
        """The hub has answered with a connect error of this code."""
        self._hear(link.Refused(self.attempt, time.monotonic(), _chance(), code))

    def ended(self, reason: str, cause: ErrorCode | None = None) -> None:
        """The attempt failed or the connection broke; `reason` is in words of ours, `cause` its name if it has one."""
        self._hear(link.Ended(self.attempt, time.monotonic(), _chance(), reason, cause))

    def answered(self) -> None:
        """The hub has acknowledged a request."""
        self._hear(link.Heard(self.attempt, time.monotonic(), answered=True))

    def acknowledged(self) -> None:
        """The hub has acknowledged a heartbeat."""
        self._hear(link.Acked(self.attempt, time.monotonic()))

    def received(self, event: str, arguments: tuple[Json, ...]) -> Json:
        """An event of the hub, in its order. Returns its acknowledgement, or None."""
        self._hear(link.Heard(self.attempt, time.monotonic()))
        return self._received(self.attempt, event, arguments)


def no_door(_: DoorCommand) -> DoorReply:
    """The answer of whoever has no opener."""
    return DoorReply(ok=False, code=Code.NO_DOOR, message="there is no door opener here")


class SupervisedSignalling:
    """`ports.Signalling` over the connections that `carrier` makes."""

    def __init__(
        self, carrier: Callable[[Line], Connection], journal: Journal, limits: link.Limits | None = None
    ) -> None:
        self._carrier = carrier
        self._journal = journal
        self._limits = limits or link.Limits()
        self._state = link.Link(self._limits)
        self._connections: dict[int, Connection] = {}
        self._timers: dict[link.Timer, asyncio.TimerHandle] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._complaints: set[tuple[str, str]] = set()
        self._crash: asyncio.Future[None] | None = None

    async def run(
        self,
        on_link: Callable[[bool], None],
        on_notice: Callable[[Notice], None],
        on_hub_time: Callable[[float], None] = lambda _: None,
        on_door: Callable[[DoorCommand], DoorReply] = no_door,
    ) -> None:
        """Until cancelled. What a callback raises ends it: a station that does not hear would be worse."""
        assert self._crash is None, "the link runs already"
        self._state = link.Link(self._limits)
        self._on_link, self._on_notice, self._on_hub_time = on_link, on_notice, on_hub_time
        self._on_door = on_door
        self._crash = crash = asyncio.get_running_loop().create_future()
        try:
            self._hear(link.Started(time.monotonic()))
            await crash
        finally:
            await self._end()

    async def request(self, request: Request, deadline_s: float = 5.0) -> Reply:
        if self._state.phase is not link.Phase.UP:
            raise Unreachable("there is no link to the hub")
        connection = self._connections[self._state.attempt]
        arguments = await connection.ask(request.event, encode(request), deadline_s)
        try:
            reply = decode(Reply, _only(arguments))
        except BadMessage as error:
            self._complain(request.event, f"acknowledgement: {error}")
            raise Unreachable(f"the hub's acknowledgement of {request.event} was not understood") from None
        if isinstance(reply.server_time, float):
            self._on_hub_time(reply.server_time)
        return reply

    def kick(self, *, rerouted: bool = False) -> None:
        self._hear(link.Kicked(time.monotonic(), rerouted))

    @property
    def status(self) -> LinkStatus:
        state = self._state
        failed_attempts = 0 if state.phase is link.Phase.UP else state.failed_attempts
        return LinkStatus(
            link.shown(state), link.age_s(state, time.monotonic()), failed_attempts, state.reason, state.cause
        )

    # ------------------------------------------------------------------------------------------ the supervisor

    def _hear(self, event: link.Event) -> None:
        """Decide and carry out. A carrier calls this from tasks of its library, which may swallow exceptions."""
        if self._crash is None or self._crash.done():
            return
        try:
            self._state, effects = link.handle(self._state, event)
            for effect in effects:
                self._carry_out(effect)
        except Exception as error:  # noqa: BLE001  (an interpreter's main: the error ends `run`)
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._crash is not None and not self._crash.done():
            self._crash.set_exception(error)

    def _carry_out(self, effect: link.Effect) -> None:
        match effect:
            case link.Connect(attempt):
                self._connect(attempt)
            case link.Disconnect(attempt):
                if (gone := self._connections.pop(attempt, None)) is not None:
                    self._spawn(gone.close())
            case link.SendHeartbeat(attempt):
                self._spawn(self._beat(attempt))
            case link.Announce(up):
                self._on_link(up)
            case link.SetTimer(timer, attempt, delay_s):
                self._stop_timer(timer)
                loop = asyncio.get_running_loop()
                self._timers[timer] = loop.call_later(delay_s, self._fire, timer, attempt)
            case link.StopTimer(timer):
                self._stop_timer(timer)
            case Report():
                self._journal.report(effect.code, reason=effect.reason)
            case _:
                assert_never(effect)

    def _connect(self, attempt: int) -> None:
        self._complaints.clear()
        connection = self._carrier(self._line(attempt))
        self._connections[attempt] = connection
        connection.start()

    def _line(self, attempt: int) -> Line:
        return Line(attempt, self._hear, self._received, self._fail)

    async def _beat(self, attempt: int) -> None:
        connection = self._connections.get(attempt)
        if connection is not None:
            payload = encode(Heartbeat(time.time()))
            await connection.tell(Heartbeat.event, payload, self._line(attempt).acknowledged)

    def _fire(self, timer: link.Timer, attempt: int) -> None:
        self._timers.pop(timer, None)
        self._hear(link.Fired(timer, attempt, time.monotonic(), _chance()))

    def _stop_timer(self, timer: link.Timer) -> None:
        handle = self._timers.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _end(self) -> None:
        self._crash = None
        self._state = replace(self._state, phase=link.Phase.DOWN, refused=False)
        for timer in list(self._timers):
            self._stop_timer(timer)
        for connection in self._connections.values():
            self._spawn(connection.close())
        self._connections.clear()
        while self._background:
            await asyncio.wait(self._background)  # each of them is bounded

    # ------------------------------------------------------------------------------------------------- the hub

    def _received(self, attempt: int, event: str, arguments: tuple[Json, ...]) -> Json:
        if event == HUB_HEARTBEAT_EVENT:
            if attempt == self._state.attempt and (hub_s := _time(arguments)) is not None:
                self._on_hub_time(hub_s)
            return {"ok": True}
        if event == DoorCommand.event:
            return self._commanded(attempt, arguments)
        try:
            notice = _notice(event, arguments)
        except BadMessage as error:
            self._complain(event, str(error))
            return None
        if attempt == self._state.attempt and self._state.phase is link.Phase.UP and self._crash is not None:
            try:
                self._on_notice(notice)
            except Exception as error:  # noqa: BLE001  (an interpreter's main: the error ends `run`)
                self._fail(error)
        return None

    def _commanded(self, attempt: int, arguments: tuple[Json, ...]) -> Json:
        """Only by the connection that stands: what an older one still brings is not carried out."""
        try:
            command = decode(DoorCommand, _only(arguments))
        except BadMessage as error:
            self._complain(DoorCommand.event, str(error))
            return encode(DoorReply(ok=False, code=Code.BAD_REQUEST, message=str(error)[:512]))
        if attempt != self._state.attempt or self._state.phase is not link.Phase.UP or self._crash is None:
            return encode(DoorReply(ok=False, code=Code.TRY_AGAIN, message="it came by a connection that is over"))
        try:
            return encode(self._on_door(command))
        except Exception as error:  # noqa: BLE001  (an interpreter's main: the error ends `run`)
            self._fail(error)
        return None

    def _complain(self, event: str, reason: str) -> None:
        complaint = (event, reason)
        if complaint not in self._complaints and len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.add(complaint)
            self._journal.report(ErrorCode.BAD_MESSAGE, event=event, reason=reason)


def _chance() -> float:
    return random.random()  # noqa: S311  (spreads stations in time, keeps no secret)


def _time(arguments: tuple[Json, ...]) -> float | None:
    """The hub's time in its heartbeat. One without is a sign of life all the same."""
    payload = arguments[0] if arguments else None
    at_s = payload.get("t") if isinstance(payload, dict) else None
    if isinstance(at_s, bool) or not isinstance(at_s, int | float):
        return None
    return float(at_s) if 0 <= at_s <= MAX_TIME_S else None


def _only(arguments: tuple[Json, ...]) -> Json:
    if len(arguments) != 1:
        raise BadMessage(f"one payload was expected, {len(arguments)} came")
    return arguments[0]


def _notice(event: str, arguments: tuple[Json, ...]) -> Notice:
    kind = NOTICES.get(event)
    if kind is None:
        raise BadMessage("an event that this version does not know")
    return decode(kind, _only(arguments))
