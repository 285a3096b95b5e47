"""What the adapter leaves behind: nothing, however many connections there were."""

import asyncio
import gc
import os
from collections import Counter

import pytest

from tests.contract.media_rig import Pair, RealKind

pytestmark = pytest.mark.platform("libopus")

FIRST, LAST = 8, 30
CLOSED_S = 0.3
"""Connections close in the background."""


async def test_thirty_connections_leave_no_object_no_task_and_no_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(RealKind(monkeypatch))
    try:
        for epoch in range(1, FIRST + 1):
            await one_connection(pair, epoch)
        before = await left()
        for epoch in range(FIRST + 1, LAST + 1):
            await one_connection(pair, epoch)
        after = await left()
    finally:
        await pair.close()
    assert {name: count for name, count in (after - before).items() if count >= LAST - FIRST} == {}


async def one_connection(pair: Pair, epoch: int) -> None:
    """As in a call: prepared at one side, as it rings there, then both."""
    pair.callee.media.prepare(())
    await pair.come_up(epoch)
    pair.caller.talk(None)
    pair.callee.talk(None)
    await asyncio.sleep(0.05)
    for station in (pair.caller, pair.callee):
        station.hush()
        station.media.stop()
        station.listener.words.clear()


async def left() -> Counter[str]:
    """Living objects by their type, tasks and open files."""
    await asyncio.sleep(CLOSED_S)
    gc.collect()
    counts: Counter[str] = Counter()
    # Counter(iterable) asks whether that is a Mapping, and each of Mapping's subclasses keeps the answer (abc): they
    # were counted as left behind the second time, a hundred of them where much was imported.
    for thing in gc.get_objects():
        counts[f"{type(thing).__module__}.{type(thing).__qualname__}"] += 1
    del counts["weakref.ReferenceType"]  # they hold nothing, and their number goes up and down
    counts["tasks"] = len(asyncio.all_tasks()) * LAST
    counts["files"] = len(os.listdir("/proc/self/fd")) * LAST
    return counts
