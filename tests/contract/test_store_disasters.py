"""What a store keeps through kill -9, and on a disk that is full or read-only."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from intercomd.adapters import sqlite
from intercomd.adapters.sqlite import FILE_NAME, SqliteStore
from intercomd.core.vocabulary import CallRecord, EndReason
from intercomd.ports import Store, StoreError
from tests.contract.store_rig import (
    Directory,
    directory,
    fill,
    in_call,
    killed_after,
    opened,
    record,
    remount,
    small_disk,
    until,
)

__all__ = (
    "directory",
    "small_disk",
)


async def test_a_killed_process_loses_nothing_that_was_acknowledged(directory: Directory) -> None:
    for lines in (1, 40, 300):
        last = killed_after(lines, directory)
        async with opened(directory) as store:
            loaded = await store.load()
            assert loaded.quarantined is None
            assert loaded.snapshot.call is not None
            assert last <= loaded.snapshot.call.epoch <= last + 1
            found = {entry.call_id for entry in await store.waiting_records(10_000)}
            assert {f"call-{epoch}" for epoch in range(0, last + 1, 5)} <= found


def long_record(number: int) -> CallRecord:
    return CallRecord(f"call-{number}", "f" * 128, "caller", EndReason.COMPLETED, 1.0, 2.0)


@pytest.mark.platform("root")
async def test_a_full_disk_is_named_and_overcome_when_it_has_space_again(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_S", 0.05)
    directory = Directory(small_disk / "state")
    async with opened(directory) as store:
        assert isinstance(store, SqliteStore)
        await store.save(in_call(0), None)
        filler = fill(small_disk)
        failed = await _saves_until_full(store)
        with pytest.raises(StoreError, match="the disk is full"):
            await store.save(in_call(1000), long_record(1000))
        assert len(await store.waiting_records(1000)) == failed + 1
        filler.unlink()
        await until(lambda: store.failing is None)
    async with opened(directory) as store:
        assert (await store.load()).snapshot == in_call(1000), "it landed without being asked again"
        expected = [long_record(number) for number in (*range(1, failed + 1), 1000)]
        assert await store.waiting_records(1000) == expected


async def _saves_until_full(store: Store) -> int:
    for number in range(1, 500):
        try:
            await store.save(in_call(number), long_record(number))
        except StoreError:
            return number
    raise AssertionError("the disk took everything")


@pytest.mark.platform("root")
async def test_a_disk_that_is_full_at_start_damages_no_state(small_disk: Path) -> None:
    directory = Directory(small_disk / "state")
    async with opened(directory) as store:
        await store.save(in_call(5), record(1))
    filler = fill(small_disk)
    store = directory.open()
    with suppress(StoreError):  # enough space may have been left
        await store.load()
    filler.unlink()
    loaded = await store.load()
    assert (loaded.snapshot, loaded.quarantined) == (in_call(5), None)
    await store.close()


@pytest.mark.platform("root")
async def test_a_read_only_disk_is_named_and_overcome(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "RETRY_S", 0.05)
    directory = Directory(small_disk / "state")
    async with opened(directory) as store:
        await store.save(in_call(5), None)
    remount(small_disk, "ro")
    readonly = SqliteStore(directory.path)
    with pytest.raises(StoreError, match=r"[Rr]ead-only"):
        await readonly.load()
    with pytest.raises(StoreError, match=r"[Rr]ead-only"):
        await readonly.save(in_call(6), record(1))
    assert await readonly.waiting_records(10) == [record(1)]
    remount(small_disk, "rw")
    await until(lambda: readonly.failing is None)
    await readonly.close()
    assert directory.set_aside() == 0, "the file was not at fault"
    async with opened(directory) as store:
        assert (await store.load()).snapshot == in_call(6)


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SqliteStore(tmp_path / "file" / "state")
    with pytest.raises(StoreError, match=r"cannot keep the state in .*: Not a directory"):
        await store.load()
    await store.close()


@pytest.mark.platform("root")
async def test_a_file_of_another_user_is_set_aside() -> None:
    """Left by somebody who ran the daemon by hand as root."""
    nobody = 65534
    with TemporaryDirectory() as name:
        directory = Directory(Path(name) / "state")
        directory.path.mkdir()
        (directory.path / FILE_NAME).touch(mode=0o600)
        os.chmod(name, 0o755)
        os.chown(directory.path, nobody, nobody)
        os.seteuid(nobody)
        try:
            store = directory.open()
            assert "belongs to somebody else" in ((await store.load()).quarantined or "")
            await store.save(in_call(), None)
            await store.close()
        finally:
            os.seteuid(0)
