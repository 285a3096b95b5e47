"""Who asks, where a proxy stands between: without this every client would have the proxy's address, and one who guesses
codes would lock out all.

Only a proxy that the configuration names is believed. Of what it says (`X-Forwarded-For`, a list to which every proxy
adds whom it has seen) the last address counts that is no such proxy itself: what stands before that, the client may
have written."""

import ipaddress
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HEADER = "X-Forwarded-For"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def seen_by(proxies: Sequence[Network], remote: str | None, header: str) -> str | None:
    """The client's address, `remote` being who is connected."""
    if not _is_among(proxies, remote):
        return remote
    for told in reversed([part.strip() for part in header.split(",")]):
        if _address(told) is None:
            return remote
        if not _is_among(proxies, told):
            return told
    return remote


def telling_apart(networks: Sequence[str]) -> Middleware:
    """`request.remote` is the client's address from here on."""
    proxies = tuple(ipaddress.ip_network(network) for network in networks)

    @web.middleware
    async def with_address(request: web.Request, handler: Handler) -> web.StreamResponse:
        header = ",".join(request.headers.getall(HEADER, ()))
        client = seen_by(proxies, request.remote, header) if header else request.remote
        return await handler(request if client == request.remote else request.clone(remote=client or ""))

    return with_address


def _is_among(proxies: Sequence[Network], text: str | None) -> bool:
    address = _address(text or "")
    return address is not None and any(address in proxy for proxy in proxies)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
