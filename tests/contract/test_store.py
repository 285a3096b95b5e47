"""The store's contract, on the fake and on SQLite: what was saved is there after a reboot."""

import asyncio

import pytest

from intercomd.adapters.sqlite import SqliteStore
from intercomd.core.snapshot import Snapshot
from intercomd.core.vocabulary import EndReason
from intercomd.fakes.store import FakeStore
from intercomd.flash.ledger import MAX_RECORDS
from intercomd.ports import StoreError
from tests.contract.store_rig import Place, in_call, opened, place, record

__all__ = ("place",)


async def test_a_new_store_is_empty_and_has_an_instance_id(place: Place) -> None:
    store = place.open()
    loaded = await store.load()
    assert (loaded.snapshot, loaded.quarantined) == (Snapshot(), None)
    assert len(loaded.instance) == 32
    assert await store.waiting_records(10) == []
    await store.close()


async def test_what_was_saved_is_there_after_a_reboot_under_the_same_instance_id(place: Place) -> None:
    async with opened(place) as store:
        first = await store.load()
        await store.save(in_call(7), record(1))
    again = place.open()
    loaded = await again.load()
    assert loaded.snapshot == in_call(7)
    assert loaded.instance == first.instance
    assert loaded.age_s is not None
    assert 0 <= loaded.age_s < 60
    assert await again.waiting_records(10) == [record(1)]
    await again.close()


async def test_the_last_of_many_saves_wins(place: Place) -> None:
    async with opened(place) as store:
        await asyncio.gather(*(store.save(in_call(epoch), None) for epoch in range(30)))
    async with opened(place) as store:
        assert (await store.load()).snapshot == in_call(29)


async def test_records_come_oldest_first_and_go_when_the_hub_has_them(place: Place) -> None:
    async with opened(place) as store:
        for number in range(5):
            await store.save(Snapshot(), record(number))
        assert await store.waiting_records(3) == [record(0), record(1), record(2)]
        await store.forget_records(["call-0", "call-2", "call-99"])
        assert await store.waiting_records(10) == [record(1), record(3), record(4)]
    async with opened(place) as store:
        assert await store.waiting_records(10) == [record(1), record(3), record(4)]


async def test_a_record_is_kept_once_per_call_and_the_newer_one_stays(place: Place) -> None:
    async with opened(place) as store:
        await store.save(Snapshot(), record(1))
        await store.save(Snapshot(), record(2))
        await store.save(Snapshot(), record(1, EndReason.PEER_LOST))
        assert await store.waiting_records(10) == [record(2), record(1, EndReason.PEER_LOST)]


async def test_the_outbox_is_bounded_and_drops_the_oldest_and_counts_them(place: Place) -> None:
    async with opened(place) as store:
        assert isinstance(store, FakeStore | SqliteStore)
        for number in range(MAX_RECORDS + 3):
            await store.save(Snapshot(), record(number))
        assert (await store.waiting_records(1))[0] == record(3)
        assert len(await store.waiting_records(MAX_RECORDS * 2)) == MAX_RECORDS
        assert store.dropped_records == 3


async def test_an_unchanged_snapshot_is_not_written_again(place: Place) -> None:
    async with opened(place) as store:
        await store.save(in_call(), None)
        before = place.writes()
        for _ in range(10):
            await store.save(in_call(), None)
        assert place.writes() == before
        await store.save(in_call(2), None)
        assert place.writes() > before


async def test_a_damaged_file_is_set_aside_and_a_new_one_begun(place: Place) -> None:
    async with opened(place) as store:
        await store.save(in_call(), None)
    place.damage()
    store = place.open()
    loaded = await store.load()
    assert loaded.snapshot == Snapshot()
    assert loaded.quarantined
    assert place.set_aside() == 1
    await store.save(in_call(2), None)
    await store.close()
    async with opened(place) as store:
        loaded = await store.load()
        assert (loaded.snapshot, loaded.quarantined) == (in_call(2), None)


async def test_at_most_three_damaged_files_are_kept(place: Place) -> None:
    for _ in range(5):
        async with opened(place):
            pass
        place.damage()
    async with opened(place):
        assert place.set_aside() == 3


async def test_a_closed_store_says_so_and_closing_twice_is_nothing(place: Place) -> None:
    store = place.open()
    await store.load()
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.save(in_call(), None)
