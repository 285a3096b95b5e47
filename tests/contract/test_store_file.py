"""The store's file: how it is written, who may read it, what it costs, how old its call is."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

from intercomd.adapters import sqlite
from intercomd.adapters.sqlite import FILE_NAME, SqliteStore
from intercomd.core.snapshot import Snapshot
from intercomd.flash.instant import Instant
from intercomd.ports import StoreError
from tests.contract.store_rig import LIMIT_S, PAGE, Directory, directory, in_call, opened, record, until

__all__ = ("directory",)


async def test_the_pragmas_took_effect_and_the_connection_has_its_own_thread(directory: Directory) -> None:
    async with opened(directory) as store:
        await store.save(in_call(), None)
        assert isinstance(store, SqliteStore)
        found = await store._do(lambda: _pragmas(store))
        assert found == {
            "page_size": PAGE,
            "locking_mode": "exclusive",
            "journal_mode": "wal",
            "synchronous": 2,
            "wal_autocheckpoint": 200,
        }
        assert store._thread is not None
        assert store._thread.name == "intercomd-store"


def _pragmas(store: SqliteStore) -> dict[str, object]:
    database = store._database._connection
    assert database is not None
    return {name: database.execute(f"PRAGMA {name}").fetchone()[0] for name in sqlite._PRAGMAS}


async def test_a_pragma_that_does_not_take_effect_is_an_error(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sqlite._PRAGMAS, "journal_mode", ("MEMORY", "wal"))
    store = directory.open()
    with pytest.raises(StoreError, match="journal_mode = memory where MEMORY is needed"):
        await store.load()
    await store.close()


async def test_nobody_else_may_read_the_files(directory: Directory) -> None:
    directory.path.mkdir(mode=0o755)
    (directory.path / FILE_NAME).touch(mode=0o644)
    async with opened(directory) as store:
        await store.save(in_call(), record(1))
        modes = {path.name: path.stat().st_mode & 0o777 for path in directory.path.iterdir()}
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert set(modes) == {FILE_NAME, f"{FILE_NAME}-wal"}, "no -shm, which the kernel would write back every 30 s"
    assert set(modes.values()) == {0o600}


async def test_a_change_costs_one_page(directory: Directory) -> None:
    """The flash budget: 20 KiB and one fdatasync a change, of which the page that the WAL takes is our part."""
    async with opened(directory) as store:
        await store.save(in_call(0), None)
        before = directory.writes()
        for epoch in range(1, 11):
            await store.save(in_call(epoch), None)
        assert directory.writes() - before == 10


EARLIER = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in (
    "PRAGMA journal_mode = DELETE",
    "PRAGMA page_size = 4096",
    "VACUUM",
    "PRAGMA journal_mode = WAL",
    "UPDATE station SET written_at = 1234",
):
    database.execute(statement)
os._exit(0)
"""


async def test_a_file_of_an_earlier_version_keeps_its_page_size_and_loses_nothing(directory: Directory) -> None:
    """Left by a process that was killed, with pages of 4096 bytes, a WAL and an -shm."""
    async with opened(directory) as store:
        await store.save(in_call(), record(1))
    subprocess.run([sys.executable, "-c", EARLIER, directory.path / FILE_NAME], check=True, timeout=LIMIT_S)
    assert (directory.path / f"{FILE_NAME}-shm").exists()
    async with opened(directory) as store:
        loaded = await store.load()
        assert (loaded.snapshot, loaded.kept_at_s, loaded.quarantined) == (in_call(), 1234.0, None)
        await store.save(in_call(2), record(2))
        assert isinstance(store, SqliteStore)
        assert (await store._do(lambda: _pragmas(store)))["page_size"] == 4096
    async with opened(directory) as store:
        assert (await store.load()).snapshot == in_call(2)
        assert await store.waiting_records(10) == [record(1), record(2)]


async def test_the_age_follows_the_boot_clock_within_a_boot_and_is_the_hubs_to_tell_over_one(
    directory: Directory,
) -> None:
    clock = Instant(wall_s=1000.0, boot_id="one", since_boot_s=50.0)
    store = SqliteStore(directory.path, lambda: clock)
    await store.load()
    await store.save(in_call(), None)
    await store.close()
    a_year_s = 365 * 86400.0
    for clock, age_s in (
        (Instant(1000.0 + a_year_s, "one", 52.5), 2.5),
        (Instant(1000.0 - a_year_s, "one", 52.5), 2.5),
        (Instant(1030.0, "two", 53.0), None),
        (Instant(1000.0 + a_year_s, "two", 53.0), None),
        (Instant(1000.0 - a_year_s, "two", 53.0), None),
    ):
        store = SqliteStore(directory.path, partial(replace, clock))
        loaded = await store.load()
        assert (loaded.age_s, loaded.kept_at_s) == (age_s, 1000.0)
        await store.close()


async def test_a_long_call_is_as_young_as_its_last_sign_of_life(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grace of a restore counts from the end of the process, and a call without changes must not look old."""
    monkeypatch.setattr(sqlite, "REFRESH_S", 0.02)
    clock = Instant(1000.0, "one", 50.0)
    store = SqliteStore(directory.path, lambda: clock)
    await store.load()
    await store.save(in_call(), None)
    clock = replace(clock, since_boot_s=3650.0)
    written = directory.writes()
    await until(lambda: directory.writes() > written)
    await store.close()
    store = SqliteStore(directory.path, lambda: replace(clock, since_boot_s=3652.0))
    assert (await store.load()).age_s == 2.0
    await store.close()


async def test_without_a_call_nothing_is_written_while_nothing_changes(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "REFRESH_S", 0.01)
    async with opened(directory) as store:
        await store.save(in_call(), None)
        await store.save(Snapshot(), None)
        before = directory.writes()
        await asyncio.sleep(0.1)
        assert directory.writes() == before
