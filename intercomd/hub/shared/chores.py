"""What must be done and nobody waits for: done at once, and again every second until it succeeds."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Final

from intercomd.hub.storage.database import DatabaseError

AT_ONCE: Final = 4
"""So many at a time: people's requests need connections, too."""

Work = Callable[[], Awaitable[None]]


class Chores:
    """A chore has a key: the same one twice is done once, unless it came again while it was being done."""

    def __init__(self) -> None:
        self._due: dict[Hashable, Work] = {}
        self._later: dict[Hashable, Work] = {}
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._due) + len(self._later)

    def add(self, key: Hashable, work: Work, *, at_once: bool = True) -> None:
        """`at_once`: else with the next attempt of what has failed."""
        (self._due if at_once else self._later)[key] = work
        self._idle.clear()
        self._changed.set()

    def forget(self, key: Hashable) -> None:
        """Somebody else does it."""
        self._due.pop(key, None)
        self._later.pop(key, None)

    async def run(self, retry_s: float) -> None:
        """For ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(retry_s if self._later else None):
                    await self._changed.wait()
            self._changed.clear()
            if not self._due:
                self._due, self._later = self._later, {}
            await self._do_all()
            if not self:
                self._idle.set()

    async def finish(self) -> None:
        """Wait until nothing is left to be done."""
        await self._idle.wait()

    async def _do_all(self) -> None:
        while self._due:
            keys = list(self._due)[:AT_ONCE]
            await asyncio.gather(*(self._do(key, self._due.pop(key)) for key in keys))

    async def _do(self, key: Hashable, work: Work) -> None:
        try:
            await work()
        except DatabaseError:
            if key not in self._due:
                self._later[key] = work
