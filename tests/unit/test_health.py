"""The process's own figures: what `make bench` and technicians judge leaks by."""

import asyncio
import os
import threading
from contextlib import suppress

import numpy as np

from intercomd.device.health import process_figures


async def test_figures_follow_what_the_process_holds() -> None:
    before = process_figures()
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    task = asyncio.create_task(asyncio.sleep(60))
    ends = os.pipe()
    ballast = np.ones(8_000_000, np.uint8)
    after = process_figures()
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
    assert after["rss_bytes"] >= before["rss_bytes"] + 0.9 * ballast.nbytes
