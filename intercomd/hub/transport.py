"""Socket.IO on aiohttp, tamed: the only file of the hub that knows python-socketio and python-engineio.

What is done here because the libraries do not: deflate is refused (a client that offers it would cost four
times the memory, and there is no switch); every event reaches one dispatcher and is acknowledged, also one
named `connect`; a frame that is no packet ends its connection at once instead of leaving it half alive; a
connection that does not introduce itself is closed; connections are ended without the packet after which
clients do not come back."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

import engineio
import msgspec
import socketio
from aiohttp import WSCloseCode, web
from engineio import packet as engine_packet
from engineio.async_drivers.aiohttp import WebSocket
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as RefusedBySocketIO

from intercomd.core.protocol import Code
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES
from intercomd.hub import legacy
from intercomd.hub.limits import FRAMES, Buckets
from intercomd.hub.web.site import Site

PING_INTERVAL_S = 5
PING_TIMEOUT_S = 3
INTRODUCTION_LIMIT_S = 10.0
"""From the WebSocket to the Socket.IO connect."""
MAX_STRANGERS = 2048
"""Connections that have not introduced themselves: more are refused at once."""
CLOSE_LIMIT_S = 2.0

_log = logging.getLogger("intercomd.socketio")
_log.setLevel(logging.CRITICAL)
"""The libraries' own words repeat payloads and tokens; what matters is reported by the listener."""


class Refused(Exception):
    """A connection is not accepted."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


Ticket = TypeVar("Ticket")


class Listener(Protocol[Ticket]):
    """Who decides; a `Ticket` is what it wants to keep of a client. All on the event loop; one client's
    events come one after the other."""

    def may_open(self, address: str) -> bool:
        """A WebSocket from this address, before anything is known of it."""
        ...

    def connecting(self, sid: str, address: str, auth: object, session: str) -> Ticket:
        """`session` is what a page's cookie holds, or "". Raises `Refused`."""
        ...

    async def connected(self, ticket: Ticket) -> None:
        """The client has been told that it is connected."""
        ...

    def takes_long(self, message: object) -> bool:
        """Whether the answer waits for another device: what the client says next does not wait for it."""
        ...

    async def received(self, sid: str, message: object) -> dict[str, Any]:
        """One event: `[name, payload...]` if it has the right shape. Returns the acknowledgement; never
        raises."""
        ...

    def disconnected(self, sid: str) -> None:
        """Of those that were accepted."""
        ...

    def misbehaved(self, address: str, reason: str) -> None:
        """A connection was ended for what it sent or did not send."""
        ...


class Json:
    """JSON for both libraries: strict (no NaN), fast, and a depth bomb is a `ValueError` like any other bad
    text."""

    @staticmethod
    def dumps(value: object, **_: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None


class _PlainWebSocket(WebSocket):  # type: ignore[misc]
    """engineio's WebSocket without compression, that can be closed, and that lets nothing but packets
    through."""

    def __init__(self, handler: Any, server: Any) -> None:
        super().__init__(handler, server)
        self._frames = Buckets(FRAMES)

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        request: web.Request = environ["aiohttp.request"]
        self._sock = web.WebSocketResponse(
            max_msg_size=MAX_MESSAGE_BYTES, compress=False, timeout=CLOSE_LIMIT_S, autoping=True
        )
        await self._sock.prepare(request)
        # It is kept as long as the connection, with a copy of every header; the request has them, too.
        kept = {name: environ[name] for name in ("aiohttp.request", "REQUEST_METHOD")}
        environ.clear()
        environ.update(kept, **{"intercomd.websocket": self._sock})
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def wait(self) -> str:
        """The next packet. `OSError` ends the connection (engineio's convention)."""
        message = await self._sock.receive()
        text = message.data
        if not isinstance(text, str) or not text or text[0] not in "0123456":
            raise OSError("not an Engine.IO packet")
        if not self._frames.take("", time.monotonic()):
            raise OSError("too many packets")
        return text


class _Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Keeps its background tasks, so that none outlives the hub. A ping that is due later is a timer: a sleeping
    task for each connection would hold 1.3 KiB more."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tasks: set[asyncio.Task[Any]] = set()

    def start_background_task(self, target: Any, *args: Any, **options: Any) -> asyncio.Task[Any] | None:
        loop = asyncio.get_running_loop()
        if getattr(target, "__func__", None) is AsyncSocket._send_ping:  # noqa: SLF001
            loop.call_later(self.ping_interval, _ping, target.__self__)
            return None  # the library waits for no ping
        task = loop.create_task(target(*args, **options))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def shutdown(self) -> None:
        await super().shutdown()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_LIMIT_S)


def _ping(its: Any) -> None:
    """What `AsyncSocket._send_ping` does after its sleep."""
    if not its.closing and not its.closed:
        its.last_ping = time.time()
        its.queue.put_nowait(engine_packet.Packet(engine_packet.PING))


class _Server(socketio.AsyncServer):  # type: ignore[misc]
    """Hands what arrives to the transport instead of looking for functions by the event's name."""

    def __init__(self, transport: "Transport[Any]", **options: Any) -> None:
        super().__init__(**options)
        self._transport = transport

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> bool | None:
        await super()._handle_eio_connect(eio_sid, environ)
        return self._transport.opened(eio_sid, environ)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, auth: object) -> None:
        await super()._handle_connect(eio_sid, namespace, auth)
        await self._transport.introduced(eio_sid)

    async def _handle_eio_message(self, eio_sid: str, data: str) -> None:
        if not self._transport.may_speak(eio_sid):
            await self._transport.punish(eio_sid, "too many packets")
            return
        try:
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # noqa: BLE001  (the libraries raise anything for a malformed packet)
            await self._transport.punish(eio_sid, f"malformed packet: {type(error).__name__}")

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if sid is None or not self.manager.is_connected(sid, namespace or "/"):
            return
        answering = self._answer(eio_sid, namespace, id, sid, data)
        if self._transport.listener.takes_long(data):
            self._transport.start(answering)
        else:
            await answering

    async def _answer(self, eio_sid: str, namespace: str | None, id: int | None, sid: str, data: object) -> None:
        reply = await self._transport.listener.received(sid, data)
        if id is not None:
            await self._send_packet(eio_sid, self.packet_class(packet.ACK, namespace=namespace, id=id, data=[reply]))
        elif told := legacy.told(_name(data), reply):
            await self._transport.emit(sid, legacy.ERROR_EVENT, told)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._transport.closed(eio_sid)


class Transport(Generic[Ticket]):
    """The Socket.IO end of the hub. `attach` it to the application, `close` it at the end. `polling`: HTTP long polling
    as well, for clients that know nothing else; whoever begins with it stays with it."""

    def __init__(self, listener: Listener[Ticket], site: Site | None = None, *, polling: bool = False) -> None:
        self.listener = listener
        self._site = site or Site()
        self._server = _Server(
            self,
            async_mode="aiohttp",
            transports=["websocket", "polling"] if polling else ["websocket"],
            allow_upgrades=False,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            http_compression=False,
            cors_allowed_origins=self._is_own,
            async_handlers=False,
            json=Json,
            logger=_log,
            engineio_logger=_log,
        )
        # The driver is a dict that all servers of the process share: this server gets its own.
        self._server.eio._async = {**self._server.eio._async, "websocket": _PlainWebSocket}  # noqa: SLF001
        self._server.on("connect", self._on_connect)
        self._server.on("disconnect", self._on_disconnect)
        self._strangers: dict[str, asyncio.TimerHandle] = {}
        self._tickets: dict[str, Ticket] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._frames = Buckets(FRAMES)
        """Of those that poll; a WebSocket counts its own."""

    def attach(self, app: web.Application) -> None:
        self._server.attach(app)

    async def emit(
        self, sid: str, event: str, payload: dict[str, Any], heard: Callable[[], None] | None = None
    ) -> None:
        """At most once; nothing happens if the client is gone. `heard` is called when it acknowledges."""
        callback = None if heard is None else lambda *_: heard()
        try:
            await self._server.emit(event, payload, to=sid, callback=callback)
        except (EngineIOError, KeyError):
            return  # closed meanwhile: resync repairs it

    async def tell(self, sid: str, event: str, payload: dict[str, Any]) -> None:
        """`emit` without an acknowledgement."""
        await self.emit(sid, event, payload)

    async def ask(self, sid: str, event: str, payload: dict[str, Any], limit_s: float) -> object:
        """The client's acknowledgement. Raises TimeoutError when none comes in time, also from one that is gone."""
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def acknowledged(*arguments: object) -> None:
            if not answer.done():
                answer.set_result(arguments[0] if len(arguments) == 1 else arguments)

        try:
            async with asyncio.timeout(limit_s):
                await self._server.emit(event, payload, to=sid, callback=acknowledged)
                return await answer
        except (EngineIOError, KeyError):
            raise TimeoutError(f"the connection was closed before {event} was sent") from None
        finally:
            self._forget(sid, acknowledged)

    def _forget(self, sid: str, acknowledged: Callable[..., None]) -> None:
        """The library keeps what is never acknowledged until the client goes."""
        callbacks = self._server.manager.callbacks.get(sid, {})
        for key in [key for key, callback in callbacks.items() if callback is acknowledged]:
            del callbacks[key]

    def drop(self, sid: str) -> None:
        """End a client's connection so that it comes back (no Socket.IO disconnect packet)."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        if eio_sid is not None:
            self.start(self._close(eio_sid, WSCloseCode.TRY_AGAIN_LATER))

    async def close(self) -> None:
        """End every connection and the libraries' tasks."""
        for timer in self._strangers.values():
            timer.cancel()
        self._strangers.clear()
        open_now = list(self._server.environ)
        await asyncio.gather(*(self._close(eio_sid, WSCloseCode.GOING_AWAY) for eio_sid in open_now))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_LIMIT_S)
        await self._server.shutdown()

    # ------------------------------------------------------------------------------ heard from the server

    def opened(self, eio_sid: str, environ: dict[str, Any]) -> bool | None:
        """A connection; False refuses it."""
        if len(self._strangers) >= MAX_STRANGERS or not self.listener.may_open(_address(environ)):
            del self._server.environ[eio_sid]
            return False
        self._expect_introduction(eio_sid)
        return None

    async def introduced(self, eio_sid: str) -> None:
        """A Socket.IO connect was handled, whether accepted or not."""
        sid = self._server.manager.sid_from_eio_sid(eio_sid, "/")
        if sid is None or not self._server.manager.is_connected(sid, "/"):
            return
        timer = self._strangers.pop(eio_sid, None)
        ticket = self._tickets.pop(eio_sid, None)
        if timer is not None and ticket is not None:
            timer.cancel()
            await self.listener.connected(ticket)

    async def punish(self, eio_sid: str, reason: str) -> None:
        """End a connection for what it sent."""
        self.listener.misbehaved(_address(self._server.environ.get(eio_sid, {})), reason)
        await self._close(eio_sid, WSCloseCode.POLICY_VIOLATION)

    def may_speak(self, eio_sid: str) -> bool:
        """Whether one more packet is not too many. Of WebSockets none is that comes so far."""
        is_counted = "intercomd.websocket" in self._server.environ.get(eio_sid, {})
        return is_counted or self._frames.take(eio_sid, time.monotonic())

    def closed(self, eio_sid: str) -> None:
        """The connection is gone."""
        self._frames.forget(eio_sid)
        self._tickets.pop(eio_sid, None)
        timer = self._strangers.pop(eio_sid, None)
        if timer is not None:
            timer.cancel()

    def _on_connect(self, sid: str, environ: dict[str, Any], auth: object) -> None:
        try:
            ticket = self.listener.connecting(sid, _address(environ), auth, self._session(environ))
        except Refused as refused:
            details = {"code": refused.code.value, "message": refused.message}
            raise RefusedBySocketIO(refused.message, details) from None
        self._tickets[self._server.manager.eio_sid_from_sid(sid, "/")] = ticket

    def _is_own(self, _origin: str, environ: dict[str, Any]) -> bool:
        """The library asks whenever a browser says of which page it speaks."""
        request: web.Request | None = environ.get("aiohttp.request")
        return request is not None and self._site.is_own_request(request)

    def _session(self, environ: dict[str, Any]) -> str:
        """A cookie counts only with the Origin that browsers always send here: without, it is not a browser."""
        request: web.Request | None = environ.get("aiohttp.request")
        if request is None or not self._site.is_own_request(request):
            return ""
        return self._site.session_of(request)

    def _on_disconnect(self, sid: str, _reason: str) -> None:
        self.listener.disconnected(sid)
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        if eio_sid is not None and eio_sid in self._server.environ:
            self._expect_introduction(eio_sid)

    def _expect_introduction(self, eio_sid: str) -> None:
        loop = asyncio.get_running_loop()
        self._strangers[eio_sid] = loop.call_later(INTRODUCTION_LIMIT_S, self._no_introduction, eio_sid)

    def _no_introduction(self, eio_sid: str) -> None:
        self._strangers.pop(eio_sid, None)
        self.start(self.punish(eio_sid, "no introduction in time"))

    def start(self, work: Coroutine[None, None, None]) -> None:
        """What nobody here waits for: closing when the other side is dead, an answer that another device gives."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self, eio_sid: str, code: int) -> None:
        environ = self._server.environ.get(eio_sid, {})
        websocket = environ.get("intercomd.websocket")
        if websocket is not None:
            await websocket.close(code=code)
        elif eio_sid in self._server.eio.sockets:
            # One that polls: Engine.IO's own packet, after which clients do come back.
            await self._server.eio.sockets[eio_sid].close(wait=False)


def _name(message: object) -> str:
    """Of an event, as far as it has one."""
    return message[0][:64] if isinstance(message, list) and message and isinstance(message[0], str) else ""


def _address(environ: dict[str, Any]) -> str:
    """The peer's real address: engineio's REMOTE_ADDR is always 127.0.0.1."""
    request: web.Request | None = environ.get("aiohttp.request")
    return (request.remote if request is not None else None) or "unknown"
