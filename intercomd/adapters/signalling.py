"""The link to the hub over python-socketio, under the supervisor of `core/link.py`.

python-socketio's own reconnect is off: it never gets back to a hub whose connect handler takes more than a second, a
hub that accepts TCP and never answers ends its task for good, and a disconnect by the server is final. Here each
attempt has a new client and a new HTTP session, which are let go together; what is left of them after `CLOSE_S` is cut.
"""

import asyncio
import contextlib
import logging
import os
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intercomd.config.mistakes import ConfigError
from intercomd.core.link import Limits
from intercomd.core.protocol import PROTOCOL_VERSION, ConnectAuth
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES, encode
from intercomd.errors import ErrorCode
from intercomd.ids import InstanceId
from intercomd.link.hub_url import check_hub_url
from intercomd.link.no_authorities import no_authorities
from intercomd.link.supervised import Json, Line, SupervisedSignalling
from intercomd.link.trust import NOTHING_KNOWN, Known, Trust, is_about_time, time_words, trust
from intercomd.ports import Journal, Unreachable

with no_authorities():
    import aiohttp
    import engineio
    import socketio
    from socketio import packet

CLOSE_S = 1.0
"""How long the hub may take to answer our close."""
_LOG = logging.getLogger("intercomd.socketio")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False  # what matters is in the journal; the library adds a handler of its own to loggers it makes

_HANDSHAKE_ERRORS = (
    socketio.exceptions.SocketIOError,
    engineio.exceptions.EngineIOError,
    aiohttp.ClientError,
    OSError,
    ValueError,
    # The library indexes and converts the hub's first packet without a look at it.
    TypeError,
    LookupError,
    AttributeError,
)


class _Packet(packet.Packet):  # type: ignore[misc]  # python-socketio is not typed
    """A packet that the client can take, whatever the hub has sent: what is malformed becomes an event without a
    name. Otherwise an exception would vanish in a task of the library (or an ACK 0 would take its counter away)."""

    uses_binary_events = False

    def __init__(
        self,
        packet_type: int = packet.EVENT,
        data: Json = None,
        namespace: str | None = None,
        id: int | None = None,
        binary: bool | None = None,
        encoded_packet: object = None,
    ) -> None:
        super().__init__(packet_type, data, namespace, id, binary)
        incoming = encoded_packet is not None or (packet_type == packet.EVENT and data is None)
        if incoming and not self._take(encoded_packet):
            self.packet_type, self.namespace, self.id = packet.EVENT, None, None
            self.data = ["", "not a Socket.IO packet"]

    def _take(self, encoded_packet: object) -> bool:
        try:
            self.decode(encoded_packet)
        except (ValueError, TypeError, LookupError, RecursionError):
            return False
        found: Json = self
        return found.namespace in (None, "/") and _well_formed(found.packet_type, found.id, found.data)


def _well_formed(kind: Json, ack_id: Json, data: Json) -> bool:
    match kind:
        case packet.CONNECT:
            return data is None or isinstance(data, dict)
        case packet.EVENT:
            named = isinstance(data, list) and bool(data) and isinstance(data[0], str)
            return named and data[0] not in socketio.AsyncClient.reserved_events
        case packet.ACK:
            return isinstance(data, list) and isinstance(ack_id, int) and ack_id > 0
        case _:
            return kind in (packet.DISCONNECT, packet.CONNECT_ERROR)


class _Connector(aiohttp.TCPConnector):
    """Remembers what it has given away: where a WebSocket breaks, or never came to be one, nobody else lets go of it,
    and aiohttp complains of an unclosed connection."""

    def __init__(self, trust: Trust | None) -> None:
        super().__init__(ssl=trust.tls if trust is not None else False)
        self._trust = trust
        self._given: list[aiohttp.connector.Connection] = []

    async def connect(self, *arguments: Any, **named: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*arguments, **named)
        self._given.append(connection)
        tls = connection.transport.get_extra_info("ssl_object") if connection.transport is not None else None
        if tls is not None and self._trust is not None:
            self._trust.check(tls.getpeercert())
        return connection

    def let_go(self) -> None:
        """After the session's end."""
        for connection in self._given:
            connection.close()


class _Connection:
    """`supervised.Connection`: a client and an HTTP session of its own."""

    def __init__(self, line: Line, hub: "_Hub") -> None:
        self._line = line
        self._hub = hub
        self._pending: set[asyncio.Future[tuple[Json, ...]]] = set()
        self._task: asyncio.Task[None] | None = None
        self._connector: _Connector | None = None
        self._session: aiohttp.ClientSession | None = None
        self._client: Any = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._live())
        self._task.add_done_callback(self._judge)

    def _judge(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._line.fail(error)

    async def close(self) -> None:
        """Say goodbye if there is a connection, and cut it."""
        self._fail_pending()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._client is not None:
            await _bounded(self._client.disconnect())
        if self._session is not None:
            await _bounded(self._session.close())
        if self._connector is not None:
            self._connector.let_go()
        if self._client is not None:
            await self._end_loops()

    async def ask(self, event: str, payload: Json, deadline_s: float) -> tuple[Json, ...]:
        answer: asyncio.Future[tuple[Json, ...]] = asyncio.get_running_loop().create_future()

        def acknowledged(*arguments: Json) -> None:
            self._line.answered()
            if not answer.done():
                answer.set_result(arguments)

        self._pending.add(answer)
        try:
            async with asyncio.timeout(deadline_s):
                await self._client.emit(event, payload, callback=acknowledged)
                return await answer
        except TimeoutError:
            raise Unreachable(f"the hub did not acknowledge {event} within {deadline_s:g} s") from None
        except socketio.exceptions.SocketIOError:
            raise Unreachable(f"the link broke before {event} was sent") from None
        finally:
            self._pending.discard(answer)
            self._forget(acknowledged)

    async def tell(self, event: str, payload: Json, acknowledged: Callable[[], None]) -> None:
        with contextlib.suppress(socketio.exceptions.SocketIOError):  # broken just now: heard as its end
            await self._client.emit(event, payload, callback=lambda *_: acknowledged())

    async def _live(self) -> None:
        try:
            auth, trusted = self._hub.auth(), self._hub.trust()
        except (OSError, ValueError, ConfigError) as error:
            self._line.ended(_why(error))
            return
        try:
            self._connector = _Connector(trusted)
            self._session = aiohttp.ClientSession(connector=self._connector)
            self._client = self._new_client(self._session)
            # wait=False: the library would wait for the hub's acceptance by a limit of its own (1 s by default);
            # here the handlers below hear it, and the supervisor's deadline counts for all of the attempt.
            await self._client.connect(self._hub.url, auth=auth, transports=["websocket"], namespaces=["/"], wait=False)
        except _HANDSHAKE_ERRORS as error:
            self._line.ended(_why(error), _cause(error))
            return
        await asyncio.wait([self._client.eio.read_loop_task])
        self._ended("the connection broke")

    def _new_client(self, session: aiohttp.ClientSession) -> Any:
        client = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            serializer=_Packet,
            logger=_LOG,
            engineio_logger=_LOG,
            http_session=session,
            request_timeout=CLOSE_S,  # over WebSocket it only bounds the wait for the answer to our close
            websocket_extra_options={"max_msg_size": 2 * MAX_MESSAGE_BYTES},
        )
        client.on("connect", self._line.connected)
        client.on("connect_error", self._refused)
        client.on("disconnect", self._disconnected)
        client.on("*", lambda event, *arguments: self._line.received(event, arguments))
        return client

    def _refused(self, *arguments: Json) -> None:
        # The library also calls this where there is no connection; then `connect` raises, and knows more.
        if self._client.eio.state == "connected":
            self._line.refused(_refusal_code(arguments))

    def _disconnected(self, reason: str) -> None:
        by_hub = reason == socketio.AsyncClient.reason.SERVER_DISCONNECT
        self._ended("the hub closed the connection" if by_hub else "the connection broke")

    def _ended(self, reason: str) -> None:
        self._fail_pending()
        self._line.ended(reason)

    def _fail_pending(self) -> None:
        for answer in self._pending:
            if not answer.done():
                answer.set_exception(Unreachable("the link broke before the hub acknowledged"))

    def _forget(self, acknowledged: Callable[..., None]) -> None:
        """The library keeps the callback of what is never acknowledged for as long as the client lives."""
        callbacks = self._client.callbacks.get("/", {})
        for key in [key for key, callback in callbacks.items() if callback is acknowledged]:
            del callbacks[key]

    async def _end_loops(self) -> None:
        """As a rule they have ended. A `disconnect` that had to be cut leaves them, and itself in a global list."""
        eio = self._client.eio
        loops = [task for task in (eio.read_loop_task, eio.write_loop_task) if task is not None]
        for task in loops:
            task.cancel()
        if loops:
            await asyncio.wait(loops, timeout=CLOSE_S)
        with contextlib.suppress(ValueError):
            engineio.base_client.connected_clients.remove(eio)


@dataclass(frozen=True, slots=True)
class _Hub:
    """Where and as whom to connect; read anew at every attempt."""

    url: str
    ca_file: Path | None
    token: Callable[[], str]
    instance: InstanceId
    capabilities: tuple[str, ...]
    known_time: Callable[[], Known]

    def auth(self) -> Json:
        return encode(ConnectAuth(self.token(), self.instance, PROTOCOL_VERSION, list(self.capabilities)))

    def trust(self) -> Trust | None:
        """None without TLS: the system's list of authorities takes 60 ms to read."""
        if self.url.startswith("http:"):
            return None
        return trust(self.ca_file, self.known_time(), time.time())


class SocketIoSignalling(SupervisedSignalling):
    """`ports.Signalling`. `token` and `ca_file` are read at every attempt, so that new ones are used without a
    restart; what is raised there (OSError, ValueError, ConfigError) is a failed attempt. With a `ca_file`, its
    authority is trusted and no other. `known_time` is what is known of the time without the machine's clock
    (`link/trust.py`)."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        instance: InstanceId,
        capabilities: Sequence[str],
        journal: Journal,
        *,
        ca_file: Path | None = None,
        allow_insecure: bool = False,
        limits: Limits | None = None,
        known_time: Callable[[], Known] = lambda: NOTHING_KNOWN,
    ) -> None:
        """Raises ValueError for a URL that a station must not use."""
        check_hub_url(url, allow_insecure=allow_insecure)
        hub = _Hub(url, ca_file, token, instance, tuple(capabilities), known_time)
        super().__init__(lambda line: _Connection(line, hub), journal, limits)


def _refusal_code(arguments: tuple[Json, ...]) -> str:
    """The hub's connect error is `{code, message}`; Socket.IO's servers put it under `data`."""
    found = arguments[0] if arguments else None
    for candidate in (found, found.get("data") if isinstance(found, dict) else None):
        if isinstance(candidate, dict) and isinstance(candidate.get("code"), str):
            return str(candidate["code"])
    return ""


def _certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, aiohttp.ClientConnectorCertificateError):
            found = cause.certificate_error
            return found if isinstance(found, ssl.SSLCertVerificationError) else None
        cause = cause.__cause__ or cause.__context__
    return None


def _cause(error: BaseException) -> ErrorCode | None:
    """The failure's name, where it has one of its own."""
    refused = _certificate_error(error)
    return ErrorCode.CLOCK_WRONG if refused is not None and is_about_time(refused) else None


def _why(error: BaseException) -> str:
    """An attempt's failure in words: the library hides the cause in the exception's context."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case aiohttp.ClientConnectorDNSError():
                return f"the name {cause.host} cannot be resolved"
            case aiohttp.ClientConnectorCertificateError(
                certificate_error=ssl.SSLCertVerificationError() as refused
            ) if is_about_time(refused):
                return time_words(refused, time.time())
            case aiohttp.ClientConnectorCertificateError():
                return f"the hub's certificate is not trusted: {cause.certificate_error}"
            case aiohttp.ClientConnectorError():
                number = cause.os_error.errno
                return os.strerror(number) if number else str(cause.os_error)
            case aiohttp.WSServerHandshakeError():
                return f"HTTP status {cause.status} instead of a WebSocket: is this address the hub's?"
            case ConfigError() | UnicodeError():
                return f"the token cannot be used: {cause}"
            case OSError():
                words = cause.strerror or str(cause)
                return f"{cause.filename}: {words}" if cause.filename else words
            case _:
                cause = cause.__cause__ or cause.__context__
    return f"the handshake was not understood ({type(error).__name__}: {error})"


async def _bounded(work: Coroutine[Any, Any, object]) -> None:
    """Give it `CLOSE_S` and a little; what it raises while a connection is being thrown away is of no interest."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=CLOSE_S * 1.2)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CLOSE_S)
    if task.done() and not task.cancelled():
        task.exception()
