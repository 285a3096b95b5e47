"""A real python-socketio server on loopback that misbehaves when it is told to, and raw servers that are no hub."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import socketio
from aiohttp import WSMsgType, web

from intercomd.core.protocol import REQUESTS, Heartbeat, Notice, Reply, Request
from intercomd.core.vocabulary import decode, encode

Json = Any


@dataclass
class LoopbackHub:
    """Knobs as `intercomd.fakes.signalling.FakeHubLink`, and `slow_s` before an attempt is accepted."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    answer: Callable[[Request], Reply | Json] = lambda _: Reply(ok=True)
    hung: bool = False
    refusal: str | None = None
    slow_s: float = 0.0
    requests: list[Request] = field(default_factory=list)
    attempts: int = 0
    heartbeats: int = 0
    auth: list[Json] = field(default_factory=list)
    sids: list[str] = field(default_factory=list)

    async def start(self) -> "LoopbackHub":
        self._never = asyncio.Event()
        self._server = socketio.AsyncServer(
            async_mode="aiohttp", ping_interval=5, ping_timeout=3, monitor_clients=False, always_connect=False
        )
        self._server.on("connect", self._on_connect)
        self._server.on("disconnect", self._on_disconnect)
        self._server.on("*", self._on_event)
        app = web.Application()
        self._server.attach(app)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """As a killed process: the kernel resets the connections, nobody says goodbye."""
        self._never.set()
        server = self._runner.server
        for connection in list(server.connections if server is not None else ()):
            if connection.transport is not None:
                connection.transport.abort()
        await self._runner.cleanup()
        self.sids.clear()
        for task in asyncio.all_tasks():  # the library's server leaves one asleep for each connection that it had
            if "AsyncSocket._send_ping" in repr(task.get_coro()):
                task.cancel()

    async def notify(self, notice: Notice) -> None:
        await self.send(notice.event, encode(notice))

    async def send(self, event: str, *arguments: Json) -> None:
        await self._server.emit(event, arguments)

    async def call(self, event: str, *arguments: Json) -> Json:
        """The client's acknowledgement."""
        return await self._server.call(event, arguments, to=self.sids[-1], timeout=5)

    async def drop(self) -> None:
        for sid in list(self.sids):
            await self._server.disconnect(sid)

    async def _on_connect(self, sid: str, environ: Json, auth: Json) -> None:
        self.attempts += 1
        self.auth.append(auth)
        if self.hung:
            await self._never.wait()
        await asyncio.sleep(self.slow_s)
        if self.refusal is not None:
            raise socketio.exceptions.ConnectionRefusedError(
                "refused", {"code": self.refusal, "message": "you are refused"}
            )
        self.sids.append(sid)

    def _on_disconnect(self, sid: str, reason: str) -> None:
        if sid in self.sids:
            self.sids.remove(sid)

    async def _on_event(self, event: str, sid: str, payload: Json) -> Json:
        request = decode(REQUESTS[event], payload)
        if isinstance(request, Heartbeat):
            self.heartbeats += 1
        else:
            self.requests.append(request)
        if self.hung:
            await self._never.wait()
        if isinstance(request, Heartbeat):
            return encode(Reply(ok=True, server_time=0.0))
        answer = self.answer(request)
        return encode(answer) if isinstance(answer, Reply) else answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def black_hole(port: int) -> AsyncIterator[list[int]]:
    """Accepts TCP and never says a word. Counts its victims."""
    victims: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def swallow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        victims.append(1)
        writers.append(writer)

    server = await asyncio.start_server(swallow, "127.0.0.1", port)
    try:
        yield victims
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


OPEN = '0{"sid":"e","upgrades":[],"pingInterval":5000,"pingTimeout":3000,"maxPayload":65536}'
ACCEPT = '40{"sid":"s"}'
WAIT = "wait for the client"
STALL = "read no more"


@asynccontextmanager
async def raw_hub(port: int, script: Sequence[str | bytes], *, status: int = 0) -> AsyncIterator[list[str]]:
    """A WebSocket server that sends the frames of `script` as they are; `WAIT` waits for a frame of the client, from
    `STALL` on nothing more is read, and otherwise an acknowledgement is sent for each event that comes afterwards.
    With `status`, plain HTTP. What the client sent."""
    heard: list[str] = []
    over = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        if status:
            return web.Response(status=status)
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        for frame in script:
            if frame is WAIT:
                heard.append(str((await stream.receive()).data))
            elif frame is STALL:
                assert isinstance(request.transport, asyncio.Transport)
                request.transport.pause_reading()
                await over.wait()
            elif isinstance(frame, bytes):
                await stream.send_bytes(frame)
            else:
                await stream.send_str(frame)
        async for message in stream:
            if message.type is WSMsgType.TEXT:
                heard.append(message.data)
                if message.data.startswith("42"):
                    ack_id = message.data[2 : message.data.index("[")]
                    await stream.send_str(f'43{ack_id}[{{"ok":true}}]')
        return stream

    app = web.Application()
    app.router.add_get("/socket.io/", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    try:
        yield heard
    finally:
        over.set()
        await runner.cleanup()
