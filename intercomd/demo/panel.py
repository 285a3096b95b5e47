"""The panel page's server: loopback only, behind a random token, with Host and Origin checks and a strict CSP.

`GET /TOKEN/` is the page, `GET /TOKEN/socket` the WebSocket: `Feed` messages out; `press`, `kill` and `card` in.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from intercomd.demo.control import ANSWER_LIMIT_S, ControlError, ask
from intercomd.demo.feed import Cards, CardsError, Feed, Message, Shown
from intercomd.demo.journal import WARNING, Journal, JournalLine
from intercomd.demo.supervisor import Supervisor

PAGE = Path(__file__).parent / "page"
TOKEN_BYTES = 24
BACKLOG = 2000
"""Messages that a browser may lag behind (a minute or so) before it is disconnected; it comes back and starts anew."""
MAX_MESSAGE_BYTES = 4096
STOP_LIMIT_S = 1.0
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
CONTENT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
NOT_RUNNING = {
    "en": "Nothing happened: this station's daemon is not running.",
    "zh": "没有反应：该分机程序未在运行。",
}
CARD_STUCK = {
    "en": "The sound card could not be moved; the journal says why.",
    "zh": "声卡操作失败，原因见日志。",
}


class Panel:
    """Owns the web server and the feed. `await start()` returns the page's URL; `close` is idempotent."""

    def __init__(
        self,
        stations: Sequence[Shown],
        journal: Journal,
        supervisor: Supervisor,
        cards: Cards | None = None,
    ) -> None:
        self._stations = {station.name: station for station in stations}
        self._journal = journal
        self._supervisor = supervisor
        self._cards = cards
        self._feed = Feed(stations, journal, supervisor, cards)
        self._token = secrets.token_urlsafe(TOKEN_BYTES)
        self._runner: web.AppRunner | None = None
        self._hosts: frozenset[str] = frozenset()
        self._sockets: set[web.WebSocketResponse] = set()

    async def start(self, port: int = 0) -> str:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/{token}/", self._file)
        app.router.add_get("/{token}/socket", self._socket)
        app.router.add_get("/{token}/{file}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_LIMIT_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        bound = self._runner.addresses[0][1]
        self._hosts = frozenset({f"127.0.0.1:{bound}", f"localhost:{bound}"})
        self._feed.start()
        return f"http://127.0.0.1:{bound}/{self._token}/"

    async def close(self) -> None:
        await self._feed.close()
        for socket in tuple(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """A foreign page must not reach this one, by rebinding a name to loopback or otherwise: Host is checked for
        everything, the token is in every path, and what is refused says nothing."""
        if request.host not in self._hosts:
            raise web.HTTPForbidden(text="wrong host", headers=HEADERS)
        token = request.match_info.get("token", "")
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise web.HTTPNotFound(headers=HEADERS)
        return await handler(request)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("file", "index.html")
        kind = CONTENT_TYPES.get(Path(name).suffix)
        path = PAGE / name
        if kind is None or path.parent != PAGE or not path.is_file():
            raise web.HTTPNotFound(headers=HEADERS)
        return web.Response(body=path.read_bytes(), content_type=kind, charset="utf-8", headers=HEADERS)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin", "").removeprefix("http://") not in self._hosts:
            raise web.HTTPForbidden(text="wrong origin", headers=HEADERS)
        socket = web.WebSocketResponse(heartbeat=10, max_msg_size=MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        self._sockets.add(socket)
        browser = _Browser(socket)
        unlisten = self._feed.listen(browser.tell)
        sending = asyncio.create_task(browser.send_all())
        held: set[tuple[str, str]] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._obey(message.data, browser, held)
        finally:
            unlisten()
            sending.cancel()
            self._sockets.discard(socket)
            for station, button in held:  # a browser that goes away lets go of its buttons
                await self._drive(browser, station, button, pressed=False)
        return socket

    async def _obey(self, text: str, browser: "_Browser", held: set[tuple[str, str]]) -> None:
        """Carry out one message of the page; what is malformed or names no station of ours is dropped."""
        try:
            message = json.loads(text)
        except ValueError:
            return
        if not isinstance(message, dict) or message.get("station") not in self._stations:
            return
        station = message["station"]
        match message:
            case {"type": "press", "button": str(button), "pressed": bool(pressed)}:
                (held.add if pressed else held.discard)((station, button))
                await self._drive(browser, station, button, pressed)
            case {"type": "kill"}:
                if not self._supervisor.kill(station):
                    browser.refuse(NOT_RUNNING)
            case {"type": "card", "plugged": bool(plugged)} if self._cards is not None:
                await self._plug(self._cards, browser, station, plugged)

    async def _drive(self, browser: "_Browser", station: str, button: str, pressed: bool) -> None:
        command = {"command": "drive", "button": button, "pressed": pressed}
        try:
            await ask(self._stations[station].control, command, ANSWER_LIMIT_S)
        except ControlError:
            if pressed:
                browser.refuse(NOT_RUNNING)

    async def _plug(self, cards: Cards, browser: "_Browser", station: str, plugged: bool) -> None:
        try:
            await cards.plug(station, plugged)
        except CardsError as error:
            self._journal.write(JournalLine(time.time(), station, WARNING, f"The sound rig: {error}"))
            browser.refuse(CARD_STUCK)
        self._feed.card_changed(station, cards.plugged(station))


class _Browser:
    """One page's queue: the feed never waits for a slow browser."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[Message] = asyncio.Queue(BACKLOG)

    def tell(self, message: Message) -> None:
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            message = {"type": "lagged"}
        self._queue.put_nowait(message)

    def refuse(self, text: Mapping[str, Any]) -> None:
        self.tell({"type": "refused", "text": dict(text)})

    async def send_all(self) -> None:
        while True:
            message = await self._queue.get()
            if message["type"] == "lagged":
                await self._socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
                return
            try:
                await self._socket.send_json(message)
            except ConnectionError:
                return
