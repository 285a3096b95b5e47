"""What feeds the watchdog, and the process's own figures: what `make bench` and technicians judge leaks by."""

import asyncio
import mmap
import os
import threading
from contextlib import suppress

import pytest

from intercomd.device.health import STALLED_S, Stalled, _look, process_figures

BALLAST_BYTES = 16_000_000


async def test_figures_follow_what_the_process_holds() -> None:
    before = process_figures()
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    task = asyncio.create_task(asyncio.sleep(60))
    ends = os.pipe()
    # Pages of its own: the allocator of a long-lived process may have as much in reserve.
    ballast = mmap.mmap(-1, BALLAST_BYTES)
    ballast.write(b"x" * BALLAST_BYTES)
    leak: list[list[int]] = [[] for _ in range(5000)]
    after = process_figures()
    assert len(leak) == 5000
    ballast.close()
    for end in ends:
        os.close(end)
    release.set()
    thread.join()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert after["threads"] == before["threads"] + 1
    assert after["tasks"] == before["tasks"] + 1
    assert after["fds"] == before["fds"] + 2
    assert after["objects"] >= before["objects"] + 4900
    assert after["rss_bytes"] >= before["rss_bytes"] + 0.8 * BALLAST_BYTES


@pytest.mark.parametrize("hung", ["playout", "capture"])
def test_each_thread_that_stands_still_is_found_and_named(hung: str) -> None:
    turns, seen = {"playout": 7, "capture": 3}, {}
    moving = "capture" if hung == "playout" else "playout"
    for now_s in (0.0, 1.0, STALLED_S):
        turns[moving] += 1
        _look(dict(turns), seen, now_s)
    with pytest.raises(Stalled, match=f"the {hung} thread"):
        _look({**turns, moving: turns[moving] + 1}, seen, STALLED_S + 0.1)


def test_a_thread_that_is_slow_but_moves_is_left_alone() -> None:
    seen: dict[str, tuple[int, float]] = {}
    for count in range(10):
        _look({"capture": count}, seen, count * STALLED_S)
