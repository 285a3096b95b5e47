"""What supervisors, load balancers, Prometheus and programmers ask of a hub: `/healthz`, `/readyz`, `/metrics`,
`/api/openapi.json`.

`/healthz`: is this process sound, or should it be started again? `/readyz`: should new clients be sent here? A hub that
is told to stop is sound to its end, and not ready from the first moment."""

import asyncio
import hmac
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from intercomd import __version__
from intercomd.config.crosschecks import is_loopback
from intercomd.core.protocol import Code
from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.presence import Presence
from intercomd.hub.limits import CONNECTS, Buckets
from intercomd.hub.metering.metrics import CONTENT_TYPE, Metrics
from intercomd.hub.metering.pulse import MAX_LAG_S, Pulse
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.web.routes import Route, Who

CHECK_LIMIT_S: Final = 2.0
PROBE_EVERY_S: Final = 30.0
"""A write is tried this often at most: asking every second must not wear out a card."""
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """No names, no secrets. `loop_lag` in seconds."""

    ok: bool
    database: bool
    loop_lag: float
    connections: int
    open_calls: int
    version: str


class Readiness(msgspec.Struct, frozen=True, rename="camel"):
    """`database`: it can be read and written. `directory`: who may call whom has been read."""

    ok: bool
    database: bool
    directory: bool
    stopping: bool


class Operations:
    """The routes. `metrics_token`: "" lets only this machine ask for the metrics. `describe` gives the API's
    description."""

    def __init__(
        self,
        database: Database,
        registry: Calls,
        presence: Presence,
        metrics: Metrics,
        pulse: Pulse,
        *,
        metrics_token: str = "",
        describe: Callable[[], dict[str, Any]],
    ) -> None:
        self.is_stopping = False
        self.has_directory = False
        self._database = database
        self._registry = registry
        self._presence = presence
        self._metrics = metrics
        self._pulse = pulse
        self._token = metrics_token.encode()
        self._describe = describe
        self._failures = Buckets(CONNECTS)
        self._probed_s = -PROBE_EVERY_S
        self._is_writable = True

    @property
    def is_ready(self) -> bool:
        """As far as is known without asking the database."""
        return self.has_directory and self._registry.is_writing and self._is_writable and not self.is_stopping

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/healthz", self._health, "Whether this process is sound; 503: start it again.",
                  answer=Health),
            Route("GET", "/readyz", self._ready, "Whether this process takes new calls; 503: it does not.",
                  answer=Readiness),
            Route("GET", "/metrics", self._scrape, "For Prometheus.", Who.MONITOR, produces="text/plain",
                  refusals=(401, 403, 429)),
            Route("GET", "/api/openapi.json", self._description, "This description.", answer=dict[str, Any]),
        )  # fmt: skip

    async def _health(self, _request: web.Request) -> web.Response:
        database = self._registry.is_writing and await self._can_read()
        lag_s = self._pulse.lag_s
        state = Health(
            ok=database and lag_s < MAX_LAG_S,
            database=database,
            loop_lag=round(lag_s, 3),
            connections=len(self._presence),
            open_calls=self._registry.open_calls,
            version=__version__,
        )
        return _told(state, state.ok)

    async def _ready(self, _request: web.Request) -> web.Response:
        database = self._registry.is_writing and await self._can_read() and await self._can_write()
        ok = database and self.has_directory and not self.is_stopping
        return _told(Readiness(ok, database, self.has_directory, self.is_stopping), ok)

    async def _can_read(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_LIMIT_S), self._database.transaction() as connection:
                await connection.exec_driver_sql("SELECT 1 FROM calls LIMIT 1")
        except (DatabaseError, TimeoutError):
            return False
        return True

    async def _can_write(self) -> bool:
        """What was found in the last half minute, else tried anew; after a failure at each question."""
        now_s = time.monotonic()
        if self._is_writable and now_s - self._probed_s < PROBE_EVERY_S:
            return True
        try:
            async with asyncio.timeout(CHECK_LIMIT_S):
                await self._database.probe()
            self._is_writable, self._probed_s = True, now_s
        except (DatabaseError, TimeoutError):
            self._is_writable = False
        return self._is_writable

    async def _scrape(self, request: web.Request) -> web.Response:
        refusal = self._may_not_scrape(request)
        if refusal is not None:
            return refusal
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    def _may_not_scrape(self, request: web.Request) -> web.Response | None:
        address, now_s = request.remote or "unknown", time.monotonic()
        if not self._token:
            return None if is_from_here(request) else _refused(403, Code.NOT_ALLOWED)
        if self._failures.is_empty(address, now_s):
            return _refused(429, Code.RATE_LIMITED)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token):
            return None
        self._failures.take(address, now_s)
        return _refused(401, Code.UNAUTHORISED)

    async def _description(self, _request: web.Request) -> web.Response:
        return web.json_response(self._describe())


def is_from_here(request: web.Request) -> bool:
    """Whether a program of this machine asks, and by the machine's own address: what a proxy passes on from elsewhere
    says so, and a page in a browser that was led here by a name of its own (DNS rebinding) has that name as Host."""
    if any(name in request.headers for name in _FORWARDED) or not is_loopback(request.remote or ""):
        return False
    try:
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def _told(state: msgspec.Struct, ok: bool) -> web.Response:
    return web.Response(body=msgspec.json.encode(state), status=200 if ok else 503, content_type="application/json")


def _refused(status: int, code: Code) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response({"code": code.value, "message": _WORDS[status]}, status=status, headers=headers)


_WORDS: Final = {
    401: "a token is needed, the one of [hub] metrics_token_file",
    403: "only from this machine; with [hub] metrics_token_file from elsewhere too",
    429: "too many failed attempts from this address; try again later",
}
