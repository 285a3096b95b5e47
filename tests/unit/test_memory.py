"""Memory goes back after a call, never during one."""

import asyncio
import gc
import sys

import pytest

from intercomd.device import memory
from intercomd.device.memory import Tidying


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(memory, "AFTER_S", 0.0)
    return done


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_is_tidied_up_once_when_it_is_over(collections: list[str]) -> None:
    tidying = Tidying()
    for is_idle in (True, False, False, True, True):
        tidying.follow(is_idle)
    await turns()
    tidying.follow(True)
    await turns()
    assert collections == ["collect"]


async def test_the_next_call_comes_first(collections: list[str]) -> None:
    tidying = Tidying()
    for is_idle in (False, True, False):
        tidying.follow(is_idle)
    await turns()
    assert collections == []
    tidying.close()


async def test_calls_in_a_row_leave_the_garbage_of_one_at_most(collections: list[str]) -> None:
    tidying = Tidying()
    for is_idle in (False, True, False, True):
        tidying.follow(is_idle)
    assert collections == ["collect"]
    await turns()
    assert collections == ["collect", "collect"]
    for is_idle in (False, True):
        tidying.follow(is_idle)
    assert collections == ["collect", "collect"]
    tidying.close()


async def test_names_that_were_asked_for_once_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "AFTER_S", 0.0)
    tidying = Tidying()
    await one_call(tidying)
    before = sys.getallocatedblocks()
    names = [f"name {number:0{number % 80}d}" for number in range(8192)]
    assert not any(hasattr(tidying, name) for name in names)
    del names
    await one_call(tidying)
    assert sys.getallocatedblocks() - before < 500


async def one_call(tidying: Tidying) -> None:
    tidying.follow(False)
    tidying.follow(True)
    await turns()


async def test_an_idle_station_is_left_alone(collections: list[str]) -> None:
    tidying = Tidying()
    tidying.follow(True)
    await turns()
    assert collections == []
