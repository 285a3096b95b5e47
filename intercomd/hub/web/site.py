"""What the hub is to browsers: which pages are its own, and the cookie that holds a session.

A request that changes something, and the Socket.IO handshake, must come from our own page: the browser says so in
`Origin` (RFC 6454), which scripts cannot forge. The cookie is out of reach for scripts, too, and is sent to nobody
who follows a link from elsewhere.
"""

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from aiohttp import web

from intercomd.config import Hub
from intercomd.hub.people.sessions import SESSION_LIFE_S

COOKIE: Final = "intercom"
ADMINISTRATORS_COOKIE: Final = "intercom-admin"
_HOST_ONLY: Final = "__Host-"
"""A name that browsers accept only with Secure, Path=/ and no Domain: no neighbour on a sister name can set it."""


@dataclass(frozen=True, slots=True)
class Site:
    """`public_origin`: scheme and host by which people reach the hub, where the configuration says it. `tls`: the hub
    itself speaks TLS; without it a proxy may."""

    public_origin: str = ""
    tls: bool = False

    @classmethod
    def of(cls, settings: Hub) -> Self:
        url = urlsplit(settings.public_url)
        return cls(f"{url.scheme}://{url.netloc}".lower() if url.netloc else "", settings.uses_tls)

    @property
    def secure(self) -> bool:
        """Whether people reach the hub by https."""
        return self.tls or self.public_origin.startswith("https:")

    @property
    def cookie(self) -> str:
        return f"{_HOST_ONLY}{COOKIE}" if self.secure else COOKIE

    def is_own(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of this `Origin` is ours; `host` is the request's Host. A request without an Origin is of no
        page at all."""
        if not origin or not host:
            return False
        if origin.lower() == self.public_origin:
            return True
        schemes = ("https",) if self.tls else ("http", "https")
        return origin.lower() in [f"{scheme}://{host.lower()}" for scheme in schemes]

    def is_own_request(self, request: web.Request) -> bool:
        return self.is_own(request.headers.get("Origin"), request.headers.get("Host"))

    def session_of(self, request: web.Request) -> str:
        """The session's token, "" if there is none."""
        return request.cookies.get(self.cookie, "")

    def sign_in(self, response: web.StreamResponse, token: str) -> None:
        response.set_cookie(
            self.cookie, token, max_age=round(SESSION_LIFE_S), path="/", secure=self.secure, httponly=True,
            samesite="Strict",
        )  # fmt: skip

    def sign_out(self, response: web.StreamResponse) -> None:
        response.del_cookie(self.cookie, path="/", secure=self.secure, httponly=True, samesite="Strict")

    @property
    def administrators_cookie(self) -> str:
        return f"{_HOST_ONLY}{ADMINISTRATORS_COOKIE}" if self.secure else ADMINISTRATORS_COOKIE

    def administrator_of(self, request: web.Request) -> str:
        """The token of an administrator's session, "" if there is none."""
        return request.cookies.get(self.administrators_cookie, "")

    def sign_in_administrator(self, response: web.StreamResponse, token: str, life_s: float) -> None:
        response.set_cookie(
            self.administrators_cookie, token, max_age=round(life_s), path="/", secure=self.secure, httponly=True,
            samesite="Strict",
        )  # fmt: skip

    def sign_out_administrator(self, response: web.StreamResponse) -> None:
        response.del_cookie(
            self.administrators_cookie, path="/", secure=self.secure, httponly=True, samesite="Strict"
        )  # fmt: skip
