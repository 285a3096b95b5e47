"""Passwords: only their Argon2id (RFC 9106) is kept, computed in threads so that no call waits for it."""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
"""What OWASP recommends as the least: a hub on a Pi with 512 MB hashes two at once beside its calls."""
AT_ONCE: Final = 2
MAX_WAITING: Final = 16

T = TypeVar("T")

_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""Fits no password, and takes as long to say so as anybody's."""


class Overloaded(Exception):
    """Too many passwords wait to be judged."""


class Passwords:
    """Owns the threads. `close` is idempotent."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "password")
        self._waiting = 0

    async def hashed(self, password: str) -> str:
        """Raises `Overloaded`."""
        return await self._run(_hashed, password)

    async def fits(self, kept: str | None, password: str) -> bool:
        """Whether this is the password; `kept` None, of somebody who has none, costs the same time. Raises
        `Overloaded`."""
        return await self._run(_fits, kept or _NOBODYS, password)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[..., T], *given: str) -> T:
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)
        finally:
            self._waiting -= 1


def _hashed(password: str) -> str:
    return _HASHER.hash(_normal(password))


def _fits(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> bytes:
    """The same letters give the same bytes on every keyboard (Unicode, NFC)."""
    return unicodedata.normalize("NFC", password).encode(errors="surrogatepass")
