"""Takes messages to push services (RFC 8030), whose addresses browsers have told: only to https, only to hosts of the
public Internet, never along a redirection, and with a limit on everything."""

import asyncio
import ipaddress
import re
import socket
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

SEND_LIMIT_S: Final = 5.0
"""One attempt. A phone that rings later than after two of them rings for nobody."""
AGAIN_AFTER_S: Final = 0.5
AT_ONCE: Final = 32
MAX_WAITING: Final = 512
MAX_ENDPOINT_CHARS: Final = 2048


class Outcome(StrEnum):
    """What came of one message."""

    ACCEPTED = "accepted"
    GONE = "gone"
    """The browser has no such subscription any more."""
    OVERLOADED = "overloaded"
    """429 or 5xx, or too many messages here."""
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


class Courier:
    """`anywhere`: also to private addresses and without TLS, for tests. Call `close()` at the end."""

    def __init__(self, *, anywhere: bool = False) -> None:
        self._anywhere = anywhere
        self._http: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def check(self, endpoint: str) -> None:
        """Raises `ValueError` with what is wrong about this address."""
        if not endpoint.isascii() or len(endpoint) > MAX_ENDPOINT_CHARS:
            raise ValueError(f"an endpoint is a URL of at most {MAX_ENDPOINT_CHARS} ASCII characters")
        url = urlsplit(endpoint)
        if not url.hostname or url.username is not None or url.password is not None:
            raise ValueError("an endpoint is a URL with a host, and without a user")
        if self._anywhere:
            return
        if url.scheme != "https" or url.port not in (None, 443):
            raise ValueError("an endpoint begins with https:// and has no port")
        if not _is_name(url.hostname) and not (_is_address(url.hostname) and _is_public(url.hostname)):
            raise ValueError("an endpoint is at a host's name, or at an address of the public Internet")

    async def send(self, endpoint: str, body: bytes, headers: dict[str, str]) -> Outcome:
        """At most two attempts. Never raises."""
        if self._waiting >= MAX_WAITING:
            return Outcome.OVERLOADED
        self._waiting += 1
        try:
            async with self._slots:
                outcome = await self._attempt(endpoint, body, headers)
                if outcome in (Outcome.OVERLOADED, Outcome.UNREACHABLE):
                    await asyncio.sleep(AGAIN_AFTER_S)
                    outcome = await self._attempt(endpoint, body, headers)
                return outcome
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Idempotent."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _attempt(self, endpoint: str, body: bytes, headers: dict[str, str]) -> Outcome:
        if self._http is None:
            resolver = None if self._anywhere else PublicResolver()
            connector = aiohttp.TCPConnector(limit=AT_ONCE, resolver=resolver)
            timeout = aiohttp.ClientTimeout(total=SEND_LIMIT_S)
            self._http = aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        try:
            self.check(endpoint)
            async with self._http.post(endpoint, data=body, headers=headers, allow_redirects=False) as response:
                return outcome_of(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Outcome.UNREACHABLE
        except ValueError:
            return Outcome.REFUSED


class PublicResolver(AbstractResolver):
    """Names whose addresses are public. It is asked for the connection itself, so no answer can change in between."""

    def __init__(self) -> None:
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises `OSError` where there is none."""
        found = [each for each in await self._system.resolve(host, port, family) if _is_public(each["host"])]
        if not found:
            raise OSError(f"{host} has no public address")
        return found

    async def close(self) -> None:
        await self._system.close()


def outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome.ACCEPTED
    if status in (404, 410):
        return Outcome.GONE
    return Outcome.OVERLOADED if status == 429 or status >= 500 else Outcome.REFUSED


def _is_name(host: str) -> bool:
    """The system reads what ends in a number as an address of IPv4, `127.1` and `0x7f000001` too (inet_aton(3), WHATWG
    URL 3.5), and aiohttp does not ask the resolver for it."""
    return re.fullmatch(r"[\w.-]+", host) is not None and not re.search(r"(^|\.)(\d+|0x[0-9a-f]*)\.?$", host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast
