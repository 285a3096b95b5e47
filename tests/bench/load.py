"""Was the machine free for the measurement? Its load before, our own lag and other people's work during it."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.bench.sounds import percentile

TICK_S = 0.01
MAX_LAG_S = 0.010
"""99 of 100 ticks of ours must come earlier than this: later, the generator itself is what is measured."""
MAX_OTHERS_CORES = 0.25
"""Work of processes that are not ours, and time that the hypervisor gave to others."""
PATIENCE_S = 60.0
_LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """`before` is the load average before anything of ours ran; `lag_s` the 99th percentile of our ticks' lateness;
    `others_cores` how many cores others used meanwhile."""

    before: float
    after: float
    lag_s: float
    others_cores: float

    def complaints(self, max_lag_s: float = MAX_LAG_S) -> Sequence[str]:
        """Why figures taken under it are not to be believed. Where seconds are measured, more lag does no harm."""
        cores = os.cpu_count() or 1
        found = []
        if self.before > cores:
            found.append(f"the load average was {self.before:.1f} before it began, on {cores} cores")
        if self.lag_s > max_lag_s:
            found.append(f"the generator lagged: {self.lag_s * 1000:.1f} ms in the 99th percentile of its ticks")
        if self.others_cores > MAX_OTHERS_CORES:
            found.append(f"other processes used {self.others_cores:.2f} cores meanwhile")
        return found

    def __str__(self) -> str:
        return (
            f"load average {self.before:.2f} before, {self.after:.2f} after; generator's lag "
            f"{self.lag_s * 1000:.1f} ms (p99); others {self.others_cores:.2f} cores"
        )


class LoadWatch:
    """`async with LoadWatch(before) as watch: …`, then `watch.load`. The ticks run on the loop that measures."""

    def __init__(self, before: float) -> None:
        self._before = before
        self.load: Load

    async def __aenter__(self) -> Self:
        self._lags: list[float] = []
        self._family = Family()
        self._began_s, self._machine = time.monotonic(), machine_cpu_s()
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._family.watch())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        took_s = time.monotonic() - self._began_s
        others = (machine_cpu_s() - self._machine) - self._family.used_s()
        lag_s = percentile(self._lags, 99) if self._lags else float("inf")
        self.load = Load(self._before, os.getloadavg()[0], lag_s, max(0.0, others / took_s))

    async def _tick(self) -> None:
        while True:
            due_s = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self._lags.append(time.monotonic() - due_s)


def machine_cpu_s() -> float:
    """Seconds of CPU used since boot by anybody, those that the hypervisor took included (proc(5): /proc/stat)."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Family:
    """This process and its descendants, and what CPU they have used since. Two ways to count, each of which misses
    some: the kernel adds a child to its parent only if that waits for it, which a browser does not do for all of its
    own; and a process that lives between two looks is not seen. The larger sum is nearer."""

    def __init__(self) -> None:
        self._first: dict[psutil.Process, float] = {}
        self._last: dict[psutil.Process, float] = {}
        self._look(at_start=True)
        self._waited_s = self._with_the_waited_for_s

    def _look(self, *, at_start: bool = False) -> None:
        self._with_the_waited_for_s = 0.0
        for process in {psutil.Process(), *psutil.Process().children(recursive=True), *self._last}:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            own_s = times.user + times.system
            self._with_the_waited_for_s += own_s + times.children_user + times.children_system
            self._first.setdefault(process, own_s if at_start else 0.0)
            self._last[process] = own_s

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._look()

    def used_s(self) -> float:
        self._look()
        seen_s = sum(last_s - self._first[process] for process, last_s in self._last.items())
        return max(seen_s, self._with_the_waited_for_s - self._waited_s)


async def quiet_machine() -> float:
    """Wait a while for what ran before us to leave the load average; returns the load average then."""
    deadline_s = time.monotonic() + PATIENCE_S
    while os.getloadavg()[0] > (os.cpu_count() or 1) and time.monotonic() < deadline_s:
        await asyncio.sleep(_LOOK_S)
    return os.getloadavg()[0]
