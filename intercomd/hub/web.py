"""The hub's plain HTTP: the residents' page, health for supervisors, ICE servers for clients; and the headers that all
answers have."""

import asyncio
import time
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from intercomd import __version__
from intercomd.core.protocol import encode
from intercomd.hub.assets import PREFIX, Asset, Page
from intercomd.hub.database import Database, DatabaseError
from intercomd.hub.limits import CONNECTS, Buckets
from intercomd.hub.presence import Presence
from intercomd.hub.registry import Registry
from intercomd.hub.turn import IceOffer

HEALTH_LIMIT_S = 2.0
TICK_S = 1.0
MAX_LAG_S = 2.0
"""A loop that comes this late to its tick is not answering calls in time."""

_HEADERS = {
    # Scripts, styles, sockets: only ours. Nothing is embedded, nothing embeds us, nothing is sent elsewhere.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Permissions-Policy": "microphone=(self), speaker-selection=(self), camera=(), geolocation=(), display-capture=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HEADERS_OF_SECURE_SITES = {"Cross-Origin-Opener-Policy": "same-origin"}
"""Elsewhere browsers ignore it and complain."""
_FOR_EVER = "public, max-age=31536000, immutable"


class Pulse:
    """How late the event loop comes to a tick."""

    def __init__(self) -> None:
        self._due_s = time.monotonic() + TICK_S

    async def run(self) -> None:
        while True:
            self._due_s = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)

    @property
    def lag_s(self) -> float:
        return max(0.0, time.monotonic() - self._due_s)


class Web:
    """The routes. `pulse.run()` must be running."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        presence: Presence,
        ice: IceOffer,
        page: Page,
        *,
        is_secure: bool = False,
    ) -> None:
        self.pulse = Pulse()
        self._database = database
        self._registry = registry
        self._presence = presence
        self._ice = ice
        self._failures = Buckets(CONNECTS)
        self._page = page
        self._headers = {**_HEADERS, **_HEADERS_OF_SECURE_SITES} if is_secure else _HEADERS

    def attach(self, app: web.Application) -> None:
        app.middlewares.append(_adding(self._headers))
        app.router.add_get("/", self._index)
        app.router.add_get(PREFIX + "{name}", self._file)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/api/webrtc/ice-config", self._ice_config)

    async def _index(self, request: web.Request) -> web.Response:
        return _sent(request, self._page.index)

    async def _file(self, request: web.Request) -> web.Response:
        asset = self._page.files.get(request.path)
        if asset is None:
            raise web.HTTPNotFound
        return _sent(request, asset, {"Cache-Control": _FOR_EVER})

    async def _health(self, _request: web.Request) -> web.Response:
        """200 while calls can be made; 503 and which part is at fault otherwise. No names, no secrets."""
        database = self._registry.is_writing and await self._can_read()
        lag_s = self.pulse.lag_s
        healthy = database and lag_s < MAX_LAG_S
        state = {
            "ok": healthy,
            "database": database,
            "loopLag": round(lag_s, 3),
            "connections": len(self._presence),
            "openCalls": self._registry.open_calls,
            "version": __version__,
        }
        return web.json_response(state, status=200 if healthy else 503)

    async def _can_read(self) -> bool:
        try:
            async with asyncio.timeout(HEALTH_LIMIT_S), self._database.transaction() as connection:
                await connection.exec_driver_sql("SELECT 1 FROM calls LIMIT 1")
        except (DatabaseError, TimeoutError):
            return False
        return True

    async def _ice_config(self, request: web.Request) -> web.Response:
        address, now_s = request.remote or "unknown", time.monotonic()
        if self._failures.is_empty(address, now_s):
            return web.json_response({"code": "rate_limited"}, status=429)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        identity = self._registry.directory.by_token(token.strip()) if scheme == "Bearer" else None
        if identity is None:
            self._failures.take(address, now_s)
            headers = {"WWW-Authenticate": "Bearer"}
            return web.json_response({"code": "unauthorised"}, status=401, headers=headers)
        return web.json_response({"iceServers": [encode(server) for server in self._ice.servers(identity.id)]})


def _adding(headers: Mapping[str, str]) -> Middleware:
    def add(response: web.StreamResponse) -> None:
        for name, value in headers.items():
            response.headers.setdefault(name, value)

    @web.middleware
    async def with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            add(answer)
            raise
        if not response.prepared:
            add(response)
        return response

    return with_headers


def _sent(request: web.Request, asset: Asset, headers: Mapping[str, str] | None = None) -> web.Response:
    """The file, through gzip for whoever takes it."""
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    encoding = {"Content-Encoding": "gzip"} if packed else {}
    return web.Response(
        body=asset.packed if packed else asset.body,
        content_type=asset.type,
        charset="utf-8",
        headers={"Vary": "Accept-Encoding", **encoding, **(headers or {})},
    )
