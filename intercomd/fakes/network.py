"""A network that changes when a test says so."""

import asyncio
from collections.abc import Callable

from intercomd.ports import Paths

HOME = Paths(frozenset({"127.0.0.1", "192.0.2.7"}), frozenset({"ipv4 via 192.0.2.1 dev eth0"}),
             frozenset({"lo", "eth0"}), "192.0.2.7")  # fmt: skip


class FakeNetwork:
    """`ports.Network`: `become` changes the picture, and whoever listens hears of it in the loop's next turn, once for
    several changes in one turn."""

    def __init__(self, paths: Paths = HOME) -> None:
        self._paths = paths
        self._stirred = asyncio.Event()

    def become(self, paths: Paths) -> None:
        self._paths = paths
        self._stirred.set()

    def paths(self) -> Paths:
        return self._paths

    async def run(self, on_change: Callable[[Paths], None]) -> None:
        last = self._paths
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            if self._paths != last:
                last = self._paths
                on_change(last)
