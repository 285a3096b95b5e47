"""The process's own figures: what `make bench` and technicians judge leaks by."""

import asyncio
import gc
import mmap
import os
import threading
from contextlib import suppress

from intercomd.device.health import process_figures

BALLAST_BYTES = 16_000_000


async def test_figures_follow_what_the_process_holds() -> None:
    gc.collect()  # what other tests have left is not to go in between
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
