"""Which pages are the hub's own, and the cookie of a session."""

import pytest
from aiohttp import web

from intercomd.config import Hub
from intercomd.hub.web.site import Site

PLAIN = Site.of(Hub())
TLS = Site.of(Hub(tls_cert="/cert.pem", tls_key="/key.pem"))
PUBLIC = Site.of(Hub(public_url="https://Door.example:8443/"))


@pytest.mark.parametrize(
    ("site", "origin", "host", "own"),
    [
        (PLAIN, "http://hub:8080", "hub:8080", True),
        (PLAIN, "https://hub:8080", "hub:8080", True),  # a proxy before it may speak TLS
        (PLAIN, "http://HUB:8080", "hub:8080", True),
        (PLAIN, "http://hub:8081", "hub:8080", False),
        (PLAIN, "http://hub", "hub:8080", False),
        (PLAIN, "http://evil.example", "hub:8080", False),
        (PLAIN, "http://hub:8080.evil.example", "hub:8080", False),
        (PLAIN, "null", "hub:8080", False),
        (PLAIN, "", "hub:8080", False),
        (PLAIN, None, "hub:8080", False),
        (PLAIN, "http://hub:8080", None, False),
        (PLAIN, "http://", "", False),
        (TLS, "https://hub:8443", "hub:8443", True),
        (TLS, "http://hub:8443", "hub:8443", False),
        (PUBLIC, "https://door.example:8443", "10.0.0.5:8080", True),
        (PUBLIC, "https://door.example", "10.0.0.5:8080", False),
        (PUBLIC, "http://10.0.0.5:8080", "10.0.0.5:8080", True),
    ],
)
def test_own_pages(site: Site, origin: str | None, host: str | None, own: bool) -> None:
    assert site.is_own(origin, host) is own


@pytest.mark.parametrize(("site", "name"), [(PLAIN, "intercom"), (TLS, "__Host-intercom"), (PUBLIC, "__Host-intercom")])
def test_the_cookie_is_out_of_reach(site: Site, name: str) -> None:
    response = web.Response()
    site.sign_in(response, "secret")
    cookie = response.cookies[name]
    assert (cookie.value, cookie["httponly"], cookie["samesite"], cookie["path"]) == ("secret", True, "Strict", "/")
    assert bool(cookie["secure"]) is site.secure
    assert cookie["domain"] == ""
    site.sign_out(response)
    assert response.cookies[name].value == ""
