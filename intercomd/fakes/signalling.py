"""A hub in memory and the link to it: it drops, hangs, refuses and comes back when it is told to, without sockets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from intercomd.core.link import Limits
from intercomd.core.protocol import REQUESTS, Heartbeat, Notice, Reply, Request
from intercomd.core.vocabulary import BadMessage, decode, encode
from intercomd.errors import ErrorCode
from intercomd.link.supervised import Json, Line, SupervisedSignalling
from intercomd.ports import Journal, Unreachable

AT_ONCE = Limits(first_retry_s=0.005, longest_retry_s=0.005, refused_retry_s=0.005)
"""A fake that is dropped is back within 5 ms."""


class SilentJournal:
    """`ports.Journal` that keeps its lines in `lines`."""

    def __init__(self) -> None:
        self.lines: list[tuple[ErrorCode, dict[str, str | int | float]]] = []

    def report(self, code: ErrorCode, message: str = "", **fields: str | int | float) -> None:
        self.lines.append((code, {"message": message, **fields} if message else dict(fields)))


@dataclass
class FakeHubLink:
    """The hub's end. `requests` are those that arrived, heartbeats left out; `answer` gives their acknowledgements.

    Knobs: `away` (attempts fail at once), `hung` (nothing is ever answered, not even an attempt), `refusal` (the
    code of a connect error). They count from the next attempt or request on; `drop` ends the connections that stand."""

    answer: Callable[[Request], Reply | Json] = lambda _: Reply(ok=True)
    away: bool = False
    hung: bool = False
    refusal: str | None = None
    requests: list[Request] = field(default_factory=list)
    attempts: int = 0
    heartbeats: int = 0
    connections: "list[_FakeConnection]" = field(default_factory=list)

    def notify(self, notice: Notice) -> None:
        """To every connection, in order."""
        self.send(notice.event, encode(notice))

    def send(self, event: str, *arguments: Json) -> list[Json]:
        """Any event, well-formed or not. The acknowledgements."""
        return [connection.line.received(event, arguments) for connection in list(self.connections)]

    def drop(self) -> None:
        """Close every connection from the hub's side."""
        for connection in list(self.connections):
            connection.drop("the hub closed the connection")

    def connected(self, connection: "_FakeConnection") -> None:
        self.attempts += 1
        if self.away:
            connection.line.ended("connection refused")
        elif self.refusal is not None:
            connection.line.refused(self.refusal)
        elif not self.hung:
            self.connections.append(connection)
            connection.line.connected()

    def asked(self, event: str, payload: Json) -> Json:
        """The acknowledgement; None for none at all."""
        try:
            request = decode(REQUESTS[event], payload)
        except BadMessage as error:
            return encode(Reply(ok=False, message=str(error)))
        if isinstance(request, Heartbeat):
            self.heartbeats += 1
            return None if self.hung else encode(Reply(ok=True, server_time=0.0))
        self.requests.append(request)
        if self.hung:
            return None
        answer = self.answer(request)
        return encode(answer) if isinstance(answer, Reply) else answer


class FakeSignalling(SupervisedSignalling):
    """`ports.Signalling` to a `FakeHubLink`, under the same supervisor as the real one."""

    def __init__(
        self, hub: FakeHubLink | None = None, journal: Journal | None = None, limits: Limits = AT_ONCE
    ) -> None:
        self.hub = hub or FakeHubLink()
        super().__init__(lambda line: _FakeConnection(line, self.hub), journal or SilentJournal(), limits)


class _FakeConnection:
    """`supervised.Connection`."""

    def __init__(self, line: Line, hub: FakeHubLink) -> None:
        self.line = line
        self._hub = hub
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._attempt: asyncio.Handle | None = None

    def start(self) -> None:
        self._attempt = asyncio.get_running_loop().call_soon(self._hub.connected, self)

    async def close(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()
        self._leave()

    def drop(self, reason: str) -> None:
        self._leave()
        self.line.ended(reason)

    async def ask(self, event: str, payload: Json, deadline_s: float) -> tuple[Json, ...]:
        acknowledgement = None if self._broken.done() else self._hub.asked(event, payload)
        await asyncio.wait([self._broken], timeout=deadline_s if acknowledgement is None else 0)
        if self._broken.done():
            raise Unreachable("the link broke before the hub acknowledged")
        if acknowledgement is None:
            raise Unreachable(f"the hub did not acknowledge {event} within {deadline_s:g} s")
        self.line.answered()
        return (acknowledgement,)

    async def tell(self, event: str, payload: Json, acknowledged: Callable[[], None]) -> None:
        if not self._broken.done() and self._hub.asked(event, payload) is not None:
            acknowledged()

    def _leave(self) -> None:
        if self in self._hub.connections:
            self._hub.connections.remove(self)
        if not self._broken.done():
            self._broken.set_result(None)
