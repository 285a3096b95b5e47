"""The hub's plain HTTP: the residents' page and the administrators', ICE servers for clients; and the headers that all
answers have."""

import time
from collections.abc import Mapping

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from intercomd.core.vocabulary import IceServer, encode
from intercomd.hub.calling.calls import Calls
from intercomd.hub.limits import CONNECTS, Buckets
from intercomd.hub.turn import IceOffer
from intercomd.hub.web.assets import PREFIX, WORKER, Asset, Page
from intercomd.hub.web.routes import Route, Who

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


class IceConfig(msgspec.Struct, frozen=True, rename="camel"):
    """As RTCConfiguration of the W3C's WebRTC 1.0 has it."""

    ice_servers: list[IceServer]


class Web:
    """The routes, and the middleware that must be attached with them."""

    def __init__(self, registry: Calls, ice: IceOffer, page: Page, *, is_secure: bool = False) -> None:
        self._registry = registry
        self._ice = ice
        self._failures = Buckets(CONNECTS)
        self._page = page
        self._headers = {**_HEADERS, **_HEADERS_OF_SECURE_SITES} if is_secure else _HEADERS

    @property
    def middleware(self) -> Middleware:
        """It adds the headers."""
        return _adding(self._headers)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/", self._index, "The residents' page.", produces="text/html"),
            Route("GET", "/admin", self._administration, "The administrators' page.", produces="text/html"),
            Route("GET", f"/{WORKER}", self._worker, "What a browser runs when a push message wakes it.",
                  produces="text/javascript"),
            Route("GET", PREFIX + "{name}", self._file, "A file of the page, by the hash of its content.",
                  produces="application/octet-stream"),
            Route("GET", "/api/webrtc/ice-config", self._ice_config, "STUN and TURN servers, with credentials of one's "
                  "own.", Who.STATION, answer=IceConfig, refusals=(401, 429)),
        )  # fmt: skip

    async def _index(self, request: web.Request) -> web.Response:
        return _sent(request, self._page.index)

    async def _administration(self, request: web.Request) -> web.Response:
        return _sent(request, self._page.administration)

    async def _worker(self, request: web.Request) -> web.Response:
        # Its scope is the whole site because it lies at the root. Kept, but asked for anew each time.
        return _sent(request, self._page.worker, {"Cache-Control": "no-cache"})

    async def _file(self, request: web.Request) -> web.Response:
        asset = self._page.files.get(request.path)
        if asset is None:
            raise web.HTTPNotFound
        return _sent(request, asset, {"Cache-Control": _FOR_EVER})

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
