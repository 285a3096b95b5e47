"""The watchdog's food: systemd hears `alive` only while the event loop runs (this task does) and the playout thread
moves. The store's health is reported but withholds nothing: a dying card must not end a call."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from intercomd.ports import Levels, Supervisor

PERIOD_S = 1.0
STALLED_S = 5.0
"""The playout thread moves every 10 ms, also without a card; this long without is a dead thread."""
_STAT, _STATM = Path("/proc/self/stat"), Path("/proc/self/statm")
"""Made once: a path interns its parts, and a name that is interned and dropped for each status makes CPython's table of
them be made anew at twice the size some day."""


class Stalled(RuntimeError):
    """A thread that must move does not: the process ends and is restarted."""


async def watch(levels: Callable[[], Levels], failed: Callable[[], BaseException | None], supervisor: Supervisor,
                on_tick: Callable[[], None]) -> None:  # fmt: skip
    """Until cancelled. Raises `Stalled`, or what an audio thread died of."""
    moved_s, played = time.monotonic(), -1
    period_s = min(PERIOD_S, supervisor.watchdog_s or PERIOD_S)
    while True:
        cause = failed()
        if cause is not None:
            raise cause
        now = levels().periods_played
        if now != played:
            moved_s, played = time.monotonic(), now
        if time.monotonic() - moved_s > STALLED_S:
            raise Stalled(f"the playout thread has not moved for {STALLED_S} s")
        supervisor.alive()
        on_tick()
        await asyncio.sleep(period_s)


def process_age_s() -> float:
    """Seconds since the kernel started this process (proc(5): field 22 of /proc/self/stat, in clock ticks)."""
    fields = _STAT.read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def process_figures() -> Mapping[str, int]:
    """What grows when something leaks: memory, threads, file descriptors, tasks. On the event loop."""
    resident_pages = int(_STATM.read_text().split()[1])
    return {
        "rss_bytes": resident_pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": len(os.listdir("/proc/self/task")),
        "fds": len(os.listdir("/proc/self/fd")) - 1,  # without the one that listdir itself has open
        "tasks": len(asyncio.all_tasks()),
    }
