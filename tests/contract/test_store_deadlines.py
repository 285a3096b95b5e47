"""Stores on disks that hang or refuse: deadlines hold, what came too late lands later."""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from intercomd.adapters.sqlite import SqliteStore
from intercomd.fakes.store import FakeStore
from intercomd.ports import Store, StoreError
from tests.contract.store_rig import LIMIT_S, Directory, Memory, Place, directory, in_call, opened, place, record

__all__ = ("directory", "place")


@contextmanager
def hangs(place: Place) -> Iterator[None]:
    """A storage device that does not answer."""
    if isinstance(place, Memory):
        place.disk.slow_s = 0.1
        yield
        place.disk.slow_s = 0.0
    else:
        assert isinstance(place, Directory)
        place.answers.clear()
        try:
            yield
        finally:
            place.answers.set()


@contextmanager
def refuses(place: Place) -> Iterator[None]:
    """A storage device that takes no byte, and can be read: setrlimit(2), RLIMIT_FSIZE. Python ignores SIGXFSZ."""
    if isinstance(place, Memory):
        place.disk.failing = "the storage device has an I/O error"
        yield
        place.disk.failing = None
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


HOLDER = """
import asyncio, sys
from pathlib import Path
from intercomd.adapters.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.load()
    print("held", flush=True)
    sys.stdin.readline()
    await store.close()

asyncio.run(main())
"""


@contextmanager
def held(directory: Directory) -> Iterator["subprocess.Popen[bytes]"]:
    """By a second daemon, which was there first. It is killed, unless it has ended before."""
    argv = [sys.executable, "-c", HOLDER, str(directory.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield holder
        finally:
            holder.kill()


async def test_a_save_past_its_deadline_lands_and_later_ones_come_after_it(place: Place) -> None:
    async with opened(place) as store:
        with hangs(place):
            await _too_late(store)
        await store.save(in_call(3), None)
    async with opened(place) as store:
        assert (await store.load()).snapshot == in_call(3)
        assert await store.waiting_records(10) == [record(1)]


async def _too_late(store: Store) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await store.save(in_call(2), record(1))


async def test_a_failed_save_says_why_and_its_record_lands_with_the_next(place: Place) -> None:
    async with opened(place) as store:
        assert isinstance(store, FakeStore | SqliteStore)
        with refuses(place):
            await _fails(store, "the storage device has an I/O error")
        await store.save(in_call(3), record(2))
        assert store.failing is None
        assert store.is_written
    async with opened(place) as store:
        assert store.is_written
        assert await store.waiting_records(10) == [record(1), record(2)]


async def _fails(store: FakeStore | SqliteStore, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        await store.save(in_call(2), record(1))
    assert store.failing
    assert not store.is_written
    assert await store.waiting_records(10) == [record(1)], "it can be uploaded although the disk does not take it"


async def test_a_hanging_disk_does_not_hold_up_the_loop_and_the_queue_is_bounded(directory: Directory) -> None:
    async with opened(directory) as store:
        with hangs(directory):
            saves = [asyncio.ensure_future(store.save(in_call(epoch), None)) for epoch in range(200)]
            done, waiting = await asyncio.wait(saves, timeout=0.1)
            assert waiting, "the thread is stuck, and the loop came back"
            assert {str(save.exception()) for save in done} == {
                "64 writes wait already: the storage device hangs; replace it"
            }
        await asyncio.gather(*waiting)
    async with opened(directory) as store:
        assert (await store.load()).snapshot == in_call(199), "noted, though it was refused a place in the queue"


async def test_a_file_that_a_second_daemon_holds_is_named_and_costs_one_time_out_and_not_two_hundred(
    directory: Directory,
) -> None:
    with held(directory) as holder:
        store = directory.open()
        with pytest.raises(StoreError, match="another process holds it; is a second daemon running"):
            await store.load()
        started_s = time.monotonic()
        saves = (store.save(in_call(epoch), None) for epoch in range(200))
        results = await asyncio.gather(*saves, return_exceptions=True)
        assert all(isinstance(result, StoreError) for result in results)
        assert time.monotonic() - started_s < LIMIT_S
        await _fails(store, "another process holds it")
        holder.communicate(b"\n", timeout=LIMIT_S)
    await store.save(in_call(999), None)
    assert store.failing is None
    await store.close()
    assert directory.set_aside() == 0, "the file was not at fault"
    async with opened(directory) as again:
        assert (await again.load()).snapshot == in_call(999)
        assert await again.waiting_records(10) == [record(1)]
