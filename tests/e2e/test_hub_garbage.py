"""Python's search for garbage waits until no call does, but not for ever."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from intercomd.hub.garbage import collect_at_rest
from tests.e2e.hub_clients import until


class Cycle:
    """Nothing but a search finds that it is garbage."""

    left = 0

    def __init__(self) -> None:
        Cycle.left += 1
        self.self = self

    def __del__(self) -> None:
        Cycle.left -= 1


@pytest.fixture
async def cycle() -> AsyncIterator[None]:
    gc.collect()
    was = gc.get_threshold()
    gc.disable()
    Cycle()
    yield
    gc.enable()
    gc.set_threshold(*was)
    gc.collect()


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.usefixtures("cycle")
async def test_not_while_it_rings() -> None:
    rest = asyncio.Event()
    task = asyncio.create_task(collect_at_rest(rest.is_set, every_s=0.01, patience_s=60.0))
    await asyncio.sleep(0.3)
    assert Cycle.left == 1
    rest.set()
    await until(lambda: Cycle.left == 0)
    await ended(task)


@pytest.mark.usefixtures("cycle")
async def test_where_it_always_rings_it_comes_late() -> None:
    task = asyncio.create_task(collect_at_rest(lambda: False, every_s=0.01, patience_s=0.1))
    await until(lambda: Cycle.left == 0)
    await ended(task)
