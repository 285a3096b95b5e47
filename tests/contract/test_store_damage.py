"""Damaged, foreign and earlier files: set aside, salvaged, told."""

import pytest

from intercomd.adapters import sqlite
from intercomd.adapters.sqlite import FILE_NAME, SqliteStore
from intercomd.core.snapshot import Snapshot
from intercomd.ports import StoreError
from tests.contract.store_rig import PAGE, Directory, change, directory, in_call, killed_after, opened, record

__all__ = ("directory",)


@pytest.mark.parametrize(
    ("statement", "value", "words"),
    [
        ("UPDATE station SET schema = ?", 2, "schema 2"),
        ("UPDATE station SET snapshot = ?", b'{"schema":99,"snapshot":{}}', "schema 99"),
        ("UPDATE station SET snapshot = ?", b"\xff\x00garbage", "not a snapshot"),
    ],
)
async def test_what_this_version_cannot_read_is_set_aside_but_keeps_its_id_and_its_records(
    directory: Directory, statement: str, value: object, words: str
) -> None:
    async with opened(directory) as store:
        instance = (await store.load()).instance
        await store.save(in_call(), record(1))
    change(directory, statement, value)
    store = directory.open()
    loaded = await store.load()
    assert loaded.quarantined is not None
    assert words in loaded.quarantined
    assert f"{FILE_NAME}.bad-1" in loaded.quarantined
    assert (loaded.snapshot, loaded.instance) == (Snapshot(), instance)
    assert await store.waiting_records(10) == [record(1)]
    await store.save(Snapshot(), None)
    await store.close()
    async with opened(directory) as store:
        assert await store.waiting_records(10) == [record(1)]


async def test_what_is_in_the_wal_alone_is_salvaged_as_well(directory: Directory) -> None:
    """Of a killed process, which has left a WAL and no -shm."""
    last = killed_after(12, directory)
    file, wal = directory.path / FILE_NAME, directory.path / f"{FILE_NAME}-wal"
    assert set(directory.path.iterdir()) == {file, wal}
    assert file.stat().st_size == PAGE, "no table is in the file yet"
    instance, records = sqlite._salvage(file)
    assert instance is not None
    assert {f"call-{epoch}" for epoch in range(0, last + 1, 5)} <= records.keys()
    async with opened(directory) as store:
        loaded = await store.load()
        assert (loaded.instance, loaded.quarantined) == (instance, None), "what the salvage has left does no harm"


async def test_the_shm_of_an_earlier_version_goes_aside_with_its_damaged_file(directory: Directory) -> None:
    async with opened(directory):
        pass
    directory.damage()
    (directory.path / f"{FILE_NAME}-shm").write_bytes(b"left by an earlier version")
    async with opened(directory) as store:
        await store.save(in_call(), record(1))
        names = {path.name for path in directory.path.iterdir()}
    aside = f"{FILE_NAME}.bad-1"
    assert names == {FILE_NAME, f"{FILE_NAME}-wal", aside, f"{aside}-shm"}


async def test_a_flipped_byte_is_seen_at_start(directory: Directory) -> None:
    async with opened(directory) as store:
        await store.save(in_call(), record(1))
    file = directory.path / FILE_NAME
    raw = bytearray(file.read_bytes())
    raw[PAGE : PAGE + 8] = b"\xff" * 8
    file.write_bytes(raw)
    store = directory.open()
    loaded = await store.load()
    assert loaded.quarantined is not None
    assert "damaged" in loaded.quarantined
    await store.close()


async def test_a_directory_in_the_files_place_is_set_aside(directory: Directory) -> None:
    (directory.path / FILE_NAME).mkdir(parents=True)
    store = directory.open()
    assert "directory" in ((await store.load()).quarantined or "")
    await store.close()


async def test_a_foreign_database_is_set_aside(directory: Directory) -> None:
    directory.path.mkdir()
    change(directory, "CREATE TABLE notes (text TEXT)")
    store = directory.open()
    assert "station" in ((await store.load()).quarantined or "")
    await store.close()


async def test_a_record_that_cannot_be_read_blocks_no_other(directory: Directory) -> None:
    async with opened(directory) as store:
        await store.save(Snapshot(), record(1))
        await store.save(Snapshot(), record(2))
    change(directory, "UPDATE outbox SET record = ? WHERE call_id = 'call-1'", b"{")
    async with opened(directory) as store:
        assert await store.waiting_records(10) == [record(2)]
        assert await store.waiting_records(10) == [record(2)]
        assert isinstance(store, SqliteStore)
        assert store.dropped_records == 1


async def test_damage_found_in_mid_life_is_reported_and_the_state_goes_to_a_new_file(directory: Directory) -> None:
    async with opened(directory) as store:
        assert isinstance(store, SqliteStore)
        instance = (await store.load()).instance
        await store.save(in_call(1), None)
        await store._do(store._database.close)  # as after an I/O error
        directory.damage()
        with pytest.raises(StoreError, match="bad-1; the state was written to a new file"):
            await store.save(in_call(2), record(1))
        assert store.failing is None
        await store.save(in_call(2), None)
    store = directory.open()
    loaded = await store.load()
    assert (loaded.snapshot, loaded.instance) == (in_call(2), instance)
    assert await store.waiting_records(10) == [record(1)]
    await store.close()
