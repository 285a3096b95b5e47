"""The store's contract, on the fake and on SQLite; then what only a disk can do: kills, damage, a full file system."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Protocol

import pytest

from intercomd.adapters import sqlite
from intercomd.adapters.sqlite import FILE_NAME, SqliteStore
from intercomd.core.protocol import CallRecord, EndReason
from intercomd.core.snapshot import Role, SavedCall, SavedPhase, Snapshot, Tombstone
from intercomd.fakes.store import FakeDisk, FakeStore
from intercomd.flash.instant import Instant
from intercomd.flash.ledger import MAX_RECORDS
from intercomd.ids import CallId, IdentityId
from intercomd.ports import Store, StoreError

PAGE = 2048
LIMIT_S = 10.0


def in_call(epoch: int = 1) -> Snapshot:
    call = SavedCall(CallId("c1"), Role.CALLER, IdentityId("flat"), SavedPhase.CONNECTED, epoch, 1000.0, 1002.0)
    return Snapshot(call, (Tombstone(CallId("c0"), "end", EndReason.COMPLETED),))


def record(number: int, reason: EndReason = EndReason.COMPLETED) -> CallRecord:
    return CallRecord(f"call-{number}", "flat", "caller", reason, 1000.0, 1010.0)


def _set() -> Event:
    event = Event()
    event.set()
    return event


class Place(Protocol):
    """Where a store keeps its file; opening it again is the reboot."""

    def open(self) -> Store: ...
    def damage(self) -> None: ...
    def set_aside(self) -> int: ...
    def writes(self) -> int: ...


@dataclass
class Memory:
    disk: FakeDisk

    def open(self) -> Store:
        return FakeStore(self.disk)

    def damage(self) -> None:
        self.disk.raw = b"not a snapshot" * 100

    def set_aside(self) -> int:
        return len(self.disk.aside)

    def writes(self) -> int:
        return self.disk.writes


@dataclass
class Directory:
    """`answers`: while it is not set, the store's thread is stuck at the beginning of its next write."""

    path: Path
    answers: Event = field(default_factory=_set)

    def open(self) -> SqliteStore:
        return SqliteStore(self.path, self._instant)

    def _instant(self) -> Instant:
        assert self.answers.wait(LIMIT_S)
        return Instant.now()

    def damage(self) -> None:
        (self.path / FILE_NAME).write_bytes(b"not a database" * 100)

    def set_aside(self) -> int:
        return len(list(self.path.glob(f"{FILE_NAME}.bad-?")))

    def writes(self) -> int:
        """Frames in the WAL, which no checkpoint has emptied in so few writes."""
        wal = self.path / f"{FILE_NAME}-wal"
        return max(0, wal.stat().st_size - 32) // (PAGE + 24) if wal.exists() else 0


@pytest.fixture(params=["fake", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Memory(FakeDisk()) if request.param == "fake" else Directory(tmp_path / "state")


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "state")


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Store]:
    store = place.open()
    try:
        await store.load()
        yield store
    finally:
        await store.close()


async def until(true: Callable[[], Awaitable[bool] | bool], limit_s: float = LIMIT_S) -> None:
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        answer = true()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within the limit")


# ------------------------------------------------------------------------------------------- both keep the contract


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


# ------------------------------------------------------------------------------------- deadlines, on a disk that hangs


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


# ------------------------------------------------------------------------------------------------ the file


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


# ------------------------------------------------------------------------------------------------ damage


def change(directory: Directory, statement: str, *values: object) -> None:
    database = sqlite3.connect(directory.path / FILE_NAME)
    with database:
        database.execute(statement, values)
    database.close()


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


# ------------------------------------------------------------------------------------------- kill -9, full, read-only

WRITER = """
import asyncio, sys
from pathlib import Path
from intercomd.adapters.sqlite import SqliteStore
from intercomd.core.snapshot import Snapshot
from tests.contract.test_store import in_call, record

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    first = (await store.load()).snapshot
    epoch = first.call.epoch + 1 if first.call else 0
    while True:
        await store.save(in_call(epoch), record(epoch) if epoch % 5 == 0 else None)
        print(epoch, flush=True)
        epoch += 1

asyncio.run(main())
"""


def killed_after(lines: int, directory: Directory) -> int:
    """The last change that the process acknowledged."""
    last = -1
    with subprocess.Popen([sys.executable, "-c", WRITER, directory.path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        return max([last, *(int(line) for line in writer.stdout.read().split(b"\n")[:-1])])


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler


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


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True)


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
