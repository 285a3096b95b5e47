"""The hub's plain HTTP: health for supervisors, ICE servers for clients, and a page that says what this
is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from intercomd import __version__
from intercomd.core.protocol import IceServer, encode
from intercomd.hub.database import Database, DatabaseError
from intercomd.hub.limits import CONNECTS, Buckets
from intercomd.hub.presence import Presence
from intercomd.hub.registry import Registry

HEALTH_LIMIT_S = 2.0
TICK_S = 1.0
MAX_LAG_S = 2.0
"""A loop that comes this late to its tick is not answering calls in time."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>intercomd hub</title>
<h1>intercomd hub</h1>
<p>This is the signalling hub of an intercom, version {__version__}. Stations connect to it by themselves.</p>
<p>Its state: <a href="/healthz">/healthz</a></p>
</html>
"""


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
        self, database: Database, registry: Registry, presence: Presence, ice_servers: Sequence[IceServer]
    ) -> None:
        self.pulse = Pulse()
        self._database = database
        self._registry = registry
        self._presence = presence
        self._ice_servers = [encode(server) for server in ice_servers]
        self._failures = Buckets(CONNECTS)

    def attach(self, app: web.Application) -> None:
        app.middlewares.append(_with_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/api/webrtc/ice-config", self._ice_config)

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

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
        if scheme != "Bearer" or self._registry.directory.by_token(token.strip()) is None:
            self._failures.take(address, now_s)
            headers = {"WWW-Authenticate": "Bearer"}
            return web.json_response({"code": "unauthorised"}, status=401, headers=headers)
        return web.json_response({"iceServers": self._ice_servers})


@web.middleware
async def _with_headers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response
