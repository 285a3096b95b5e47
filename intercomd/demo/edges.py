"""Every edge of every line of the household, with the stations' own monotonic time stamps: one clock for all of them,
since they run on one machine."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from intercomd.demo.control import Control, ControlError
from intercomd.demo.household import StationPlan

RETRY_S = 0.02


@dataclass(frozen=True, slots=True)
class Edge:
    """`at_ns` is CLOCK_MONOTONIC where the edge was made."""

    station: str
    line: str
    value: bool
    at_ns: int


class Edges:
    """Follows all stations; one that restarts is followed again. `async with Edges(stations) as edges:`"""

    def __init__(self, stations: Sequence[StationPlan]) -> None:
        self._stations = stations
        self._tasks: list[asyncio.Task[None]] = []
        self._following: dict[str, asyncio.Event] = {station.name: asyncio.Event() for station in stations}
        self._news = asyncio.Event()
        self.seen: list[Edge] = []

    async def __aenter__(self) -> "Edges":
        self._tasks = [asyncio.create_task(self._follow(station)) for station in self._stations]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def following(self, limit_s: float) -> None:
        """Wait until no edge of any station can be missed. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            for event in self._following.values():
                await event.wait()

    async def first(self, wanted: Callable[[Edge], bool], limit_s: float) -> Edge:
        """The first edge that is so, past or to come. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            looked_at = 0
            while True:
                self._news.clear()
                for edge in self.seen[looked_at:]:
                    if wanted(edge):
                        return edge
                looked_at = len(self.seen)
                await self._news.wait()

    async def _follow(self, station: StationPlan) -> None:
        while True:
            with contextlib.suppress(ControlError):
                async with Control(station.control) as control:
                    async for message in control.stream({"command": "edges"}):
                        self._take(station.name, message)
            self._following[station.name].clear()
            await asyncio.sleep(RETRY_S)

    def _take(self, station: str, message: dict[str, object]) -> None:
        match message:
            case {"ok": True}:
                self._following[station].set()
            case {"t_ns": int(at_ns), "line": str(line), "value": bool(value)}:
                self.seen.append(Edge(station, line, value, at_ns))
                self._news.set()
