"""The watchdog's food: systemd hears `alive` only while the event loop runs (this task does) and both audio threads
move. The store's health is reported but withholds nothing: a dying card must not end a call."""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from intercomd.ports import Supervisor

PERIOD_S = 1.0
STALLED_S = 5.0
"""The playout thread moves every 10 ms, also without a card; a turn of the capture thread takes at most 1 s of
back-off and the opening of a PCM. This long without one is a dead thread, as a driver that never returns leaves it."""
_STAT, _STATM = Path("/proc/self/stat"), Path("/proc/self/statm")
"""Made once: a path interns its parts, and a name that is interned and dropped for each status makes CPython's table of
them be made anew at twice the size some day."""


class Stalled(RuntimeError):
    """A thread that must move does not: the process ends and is restarted."""


async def watch(turns: Callable[[], Mapping[str, int]], failed: Callable[[], BaseException | None],
                supervisor: Supervisor, on_tick: Callable[[], None]) -> None:  # fmt: skip
    """Until cancelled. `turns` counts, for each thread that must move, how often it has. Raises `Stalled`, or what an
    audio thread died of."""
    seen: dict[str, tuple[int, float]] = {}
    looked_s = time.monotonic()
    period_s = min(PERIOD_S, supervisor.watchdog_s or PERIOD_S)
    while True:
        cause = failed()
        if cause is not None:
            raise cause
        # A process that was stopped, or got no processor, has threads that did not move either: only the time counts
        # that this task lived through.
        now_s = time.monotonic()
        passed_s, looked_s = min(now_s - looked_s, 2 * period_s), now_s
        _look(turns(), seen, passed_s)
        supervisor.alive()
        on_tick()
        await asyncio.sleep(period_s)


def _look(turns: Mapping[str, int], seen: dict[str, tuple[int, float]], passed_s: float) -> None:
    for thread, count in turns.items():
        before, still_s = seen.get(thread, (-1, 0.0))
        still_s = still_s + passed_s if count == before else 0.0
        seen[thread] = (count, still_s)
        if still_s > STALLED_S:
            raise Stalled(f"the {thread} thread has not moved for {STALLED_S} s")


def process_age_s() -> float:
    """Seconds since the kernel started this process (proc(5): field 22 of /proc/self/stat, in clock ticks)."""
    fields = _STAT.read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def process_figures() -> Mapping[str, int]:
    """What grows when something leaks: memory, threads, file descriptors, tasks, and Python's objects (those that its
    garbage collector follows and that are younger than the start). On the event loop."""
    resident_pages = int(_STATM.read_text().split()[1])
    return {
        "rss_bytes": resident_pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": len(os.listdir("/proc/self/task")),
        "fds": len(os.listdir("/proc/self/fd")) - 1,  # without the one that listdir itself has open
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
    }
