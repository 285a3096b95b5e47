"""How late the event loop is."""

import asyncio
import time
from collections.abc import Callable

TICK_S = 1.0
MAX_LAG_S = 2.0
"""A loop that comes this late to its tick is not answering calls in time."""


class Pulse:
    """`run` must be running. `on_tick` hears by how much each tick came late."""

    def __init__(self, on_tick: Callable[[float], None] | None = None) -> None:
        self._due_s = time.monotonic() + TICK_S
        self._on_tick = on_tick

    async def run(self) -> None:
        while True:
            self._due_s = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            if self._on_tick is not None:
                self._on_tick(self.lag_s)

    @property
    def lag_s(self) -> float:
        return max(0.0, time.monotonic() - self._due_s)
