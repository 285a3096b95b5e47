"""State and outbox on flash, in SQLite: what `save` has acknowledged survives a power cut.

WAL with synchronous=FULL costs one fdatasync a change and lost nothing in thousands of crash states, where SQLite's
default (DELETE) and WAL with NORMAL lose acknowledged commits. One connection in one thread, because SQLite up to
3.51.2 can lose commits when two reset a WAL. It locks the file for itself before the WAL is first touched: SQLite then
keeps the WAL's index in memory, and no -shm file is written back to the card (sqlite.org/wal.html, "Use of WAL Without
Shared-Memory"). Pages of 2 KiB: the row fits into one, and what a change adds to the WAL dirties 1.5 blocks of the
card's file system on average instead of two. Rowid tables, because a 1 KB row spills out of an index page.

What is to be written is first noted in a ledger in memory and struck out when its transaction has committed. So a
save that failed or came too late is not lost: it lands with the next one, or when the thread tries again by itself.
The event loop never waits for the disk.
"""

import asyncio
import contextlib
import errno
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from intercomd.core.snapshot import Snapshot, SnapshotError, pack, unpack
from intercomd.core.vocabulary import CallRecord
from intercomd.flash.files import UnreadableError, make_file, set_aside
from intercomd.flash.instant import Instant
from intercomd.flash.ledger import MAX_RECORDS, Entry, Ledger
from intercomd.ids import InstanceId, fresh_instance_id
from intercomd.ports import Loaded, StoreError

SCHEMA = 1
FILE_NAME = "station.sqlite3"
MAX_WAITING_JOBS = 64
KEPT_ASIDE = 3
_COMPANIONS = ("-wal", "-shm")
"""Set aside before the file: a WAL that stayed behind would be replayed into the new one. An -shm is from an earlier
version or from `_salvage`; the store neither reads nor writes it."""
RETRY_S = 5.0
"""How often the thread tries again by itself what a full or broken disk did not take."""
REFRESH_S = 30.0
"""While a call is kept, its time is written anew this often: the age at load is then the time since the end of the
process and not since the last change, and a long call is restored like a short one."""

_TABLES = (
    "CREATE TABLE station (id INTEGER PRIMARY KEY CHECK (id = 1), schema INTEGER NOT NULL, instance TEXT NOT NULL,"
    " snapshot BLOB NOT NULL, written_at REAL NOT NULL, boot_id TEXT NOT NULL, since_boot_s REAL NOT NULL,"
    " dropped INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, call_id TEXT NOT NULL, record BLOB NOT NULL)",
)
_PRAGMAS: Mapping[str, tuple[object, object]] = {
    "page_size": (2048, None),
    "locking_mode": ("EXCLUSIVE", "exclusive"),
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),
    "wal_autocheckpoint": (200, 200),
}
"""In this order. What is wanted, and what SQLite says when it took effect; None: a file that is there already keeps its
own, which does as well."""


_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
_WORDS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the file system is read-only",
    sqlite3.SQLITE_IOERR: "the storage device has an I/O error, or is full",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check the owner and the mode of its directory",
    sqlite3.SQLITE_PERM: "the file may not be opened",
    sqlite3.SQLITE_BUSY: "another process holds it; is a second daemon running?",
    sqlite3.SQLITE_LOCKED: "another process holds it; is a second daemon running?",
}
_T = TypeVar("_T")


class _Database:
    """The file and its connection; lives in the store's thread."""

    def __init__(self, path: Path, ledger: Ledger, instant: Callable[[], Instant]) -> None:
        self._path = path
        self._ledger = ledger
        self._instant = instant
        self._connection: sqlite3.Connection | None = None
        self._written: bytes | None = None
        self._instance: InstanceId | None = None
        self.due_s = float("inf")
        self.failing: str | None = None
        self._failed_version = -1
        self._quarantined: str | None = None
        self.dropped = 0

    # Each of these is one job of the thread.

    def load(self) -> Loaded:
        with self._named_errors():
            then, quarantined = self._open()
            assert self._written is not None
            assert self._instance is not None
            snapshot = unpack(self._written)
            with self._ledger.lock:
                if self._ledger.snapshot is None:
                    self._ledger.snapshot, self._ledger.has_call = self._written, snapshot.call is not None
            self._set_due()
            return Loaded(snapshot, self._instance, self._instant().since(then), quarantined, then.wall_s)

    def settle(self, version: int) -> None:
        """Write what the ledger holds, if anything, in one transaction. Where a try that contained this version has
        failed already, that is the answer: a queue of saves behind a hanging disk costs one time-out and not each."""
        if self.failing is not None and version <= self._failed_version:
            raise StoreError(self.failing)
        entry = self._ledger.read()
        if entry.snapshot != self._written or entry.records or entry.forgotten:
            self._write(entry)
        else:
            self._ledger.strike_out(entry)
            self._set_due()
        if self._quarantined is not None:
            problem, self._quarantined = self._quarantined, None
            raise StoreError(f"{problem}; the state was written to a new file")

    def waiting_records(self, limit: int) -> Sequence[CallRecord]:
        """From the outbox and, while the disk does not take them, from the ledger."""
        entry = self._ledger.read()
        rows: list[tuple[str, bytes]] = []
        with contextlib.suppress(StoreError), self._named_errors():
            wanted = limit + len(entry.forgotten) + len(entry.records)
            rows = (
                self._opened().execute("SELECT call_id, record FROM outbox ORDER BY seq LIMIT ?", (wanted,)).fetchall()
            )
        newer = dict(entry.records)
        rows = [row for row in rows if row[0] not in entry.forgotten and row[0] not in newer]
        records = [self._decoded(call_id, raw) for call_id, raw in (*rows, *entry.records)]
        return [record for record in records if record is not None][:limit]

    def idle(self) -> None:
        """The due time has come: try again, or write the time of a call anew."""
        self.due_s = time.monotonic() + RETRY_S
        with contextlib.suppress(StoreError):
            self._write(self._ledger.read())

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # a broken disk; the WAL is read at the next start
                connection.close()

    # Below these, sqlite3.Error and OSError pass; `_named_errors` turns them into StoreError.

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnreadableError) as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                self.close()  # opened, checked and if need be set aside anew by the next try
            self.failing = f"cannot keep the state in {self._path}: {_words(error)}"
            self._set_due()
            raise StoreError(self.failing) from error

    def _write(self, entry: Entry) -> None:
        try:
            with self._named_errors():
                self._commit(entry)
        except StoreError:
            self._failed_version = entry.version
            raise
        self._ledger.strike_out(entry)
        self.failing = None
        self._set_due()

    def _commit(self, entry: Entry) -> None:
        database = self._opened()
        now = self._instant()
        snapshot = entry.snapshot if entry.snapshot is not None else self._written
        with _transaction(database):
            database.execute(
                "UPDATE station SET snapshot = ?, written_at = ?, boot_id = ?, since_boot_s = ?",
                (snapshot, now.wall_s, now.boot_id, now.since_boot_s),
            )
            gone = [(call_id,) for call_id in (*entry.forgotten, *dict(entry.records))]
            database.executemany("DELETE FROM outbox WHERE call_id = ?", gone)
            database.executemany("INSERT INTO outbox (call_id, record) VALUES (?, ?)", entry.records)
            dropped = _trim(database) if entry.records else 0
        self._written = snapshot
        self.dropped += dropped

    def _set_due(self) -> None:
        if self.failing is not None:
            self.due_s = time.monotonic() + RETRY_S
        elif self._ledger.has_call:
            self.due_s = time.monotonic() + REFRESH_S
        else:
            self.due_s = float("inf")

    def _decoded(self, call_id: str, raw: bytes) -> CallRecord | None:
        try:
            return msgspec.json.decode(raw, type=CallRecord)
        except msgspec.MsgspecError:
            self._ledger.forget([call_id])  # it could never be uploaded and would block those behind it
            self.dropped += 1
            return None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            _, self._quarantined = self._open()
        assert self._connection is not None
        return self._connection

    def _open(self) -> tuple[Instant, str | None]:
        """Open the file, or set it aside and begin a new one. When it was written, and what was wrong."""
        self.close()
        try:
            return self._attach(), None
        except (sqlite3.Error, UnreadableError) as error:
            if not _is_damage(error):
                raise
            problem = _words(error)
        instance, records = _salvage(self._path)
        self._instance = self._instance or instance
        place = set_aside(self._path, _COMPANIONS, KEPT_ASIDE)
        with self._ledger.lock:
            for call_id, record in records.items():
                if call_id not in self._ledger.records:
                    self._ledger.keep(call_id, record)
        return self._attach(), f"{self._path}: {problem}; it is now {place.name}"

    def _attach(self) -> Instant:
        make_file(self._path)
        database = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        try:
            _configure(database)
            row = self._read(database)
        except BaseException:  # whatever it was, the file's lock is given back
            database.close()
            raise
        self._connection = database
        self._instance, self._written, self.dropped, then = row
        return then

    def _read(self, database: sqlite3.Connection) -> tuple[InstanceId, bytes, int, Instant]:
        if database.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            self._create(database)
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise UnreadableError(f"the file is damaged ({verdict})")
        (schema,) = database.execute("SELECT schema FROM station").fetchone() or (0,)
        if schema != SCHEMA:
            raise UnreadableError(f"the file has schema {schema}, this version knows {SCHEMA}")
        instance, raw, dropped, *instant = database.execute(
            "SELECT instance, snapshot, dropped, written_at, boot_id, since_boot_s FROM station"
        ).fetchone()
        try:
            unpack(raw)
        except SnapshotError as error:
            raise UnreadableError(str(error)) from error
        return InstanceId(instance), raw, dropped, Instant(*instant)

    def _create(self, database: sqlite3.Connection) -> None:
        now = self._instant()
        instance = self._instance or fresh_instance_id()
        with _transaction(database):
            for table in _TABLES:
                database.execute(table)
            database.execute(
                "INSERT INTO station VALUES (1, ?, ?, ?, ?, ?, ?, 0)",
                (SCHEMA, instance, pack(Snapshot()), now.wall_s, now.boot_id, now.since_boot_s),
            )


@dataclass(frozen=True, slots=True)
class _Job:
    """`future` is None for the thread's own work, which nobody awaits."""

    work: Callable[[], Any]
    future: "asyncio.Future[Any] | None" = None
    loop: asyncio.AbstractEventLoop | None = None

    def finish(self, result: object, error: Exception | None) -> None:
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._tell, result, error)

    def _tell(self, result: object, error: Exception | None) -> None:
        if self.future is None or self.future.done():  # the caller's deadline passed
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class SqliteStore:
    """`ports.Store` in `directory`/station.sqlite3. The directory is made with mode 0700, the files have 0600.

    A file that is damaged, foreign or from a newer version is set aside (at most three are kept); its instance id and
    its records are taken over where they can be read. `save` raises `StoreError` with the reason in words; what it
    could not write is kept in memory and lands as soon as the disk takes it, without being asked again.
    """

    def __init__(self, directory: Path, instant: Callable[[], Instant] = Instant.now) -> None:
        self._ledger = Ledger()
        self._database = _Database(directory / FILE_NAME, self._ledger, instant)
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._ended = False

    async def load(self) -> Loaded:
        return await self._do(self._database.load)

    async def save(self, snapshot: Snapshot, record: CallRecord | None) -> None:
        """One transaction, which may hold the newer of two waiting saves. An unchanged snapshot writes nothing."""
        version = self._ledger.note(snapshot, record)
        await self._do(lambda: self._database.settle(version))

    async def waiting_records(self, limit: int) -> Sequence[CallRecord]:
        """The oldest records. While the disk fails, those that are in memory."""
        return await self._do(lambda: self._database.waiting_records(limit))

    async def forget_records(self, call_ids: Sequence[str]) -> None:
        """If the disk fails now, they are deleted later; until then they are not offered again."""
        version = self._ledger.forget(call_ids)
        with contextlib.suppress(StoreError):
            await self._do(lambda: self._database.settle(version))

    async def close(self) -> None:
        """Write what waits and end the thread, within 5 s: a disk that hangs longer does not hold up the exit."""
        if self._thread is None or self._closed:
            self._closed = True
            return
        self._closed = True
        ended = self._put(self._end)
        await asyncio.wait([ended], timeout=5.0)
        if ended.done():
            self._thread.join(timeout=1.0)  # it has nothing left to do

    @property
    def failing(self) -> str | None:
        """Why the last write failed; None while the disk works. Clears by itself."""
        return self._database.failing

    @property
    def is_written(self) -> bool:
        """All that was saved or forgotten is on flash."""
        return self._ledger.written == self._ledger.version

    @property
    def dropped_records(self) -> int:
        """Records lost for ever: the outbox was full, or a row could not be read."""
        return self._database.dropped + self._ledger.dropped

    async def _do(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise StoreError("the store is closed")
        if self._jobs.qsize() >= MAX_WAITING_JOBS:
            raise StoreError(f"{MAX_WAITING_JOBS} writes wait already: the storage device hangs; replace it")
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="intercomd-store", daemon=True)
            self._thread.start()
        return await self._put(work)

    def _put(self, work: Callable[[], _T]) -> "asyncio.Future[_T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._jobs.put(_Job(work, future, loop))
        return future

    def _end(self) -> None:
        self._ended = True
        with contextlib.suppress(StoreError):
            self._database.settle(self._ledger.version)
        self._database.close()

    def _main(self) -> None:
        while not self._ended:
            left_s = self._database.due_s - time.monotonic()
            try:
                job = self._jobs.get(timeout=None if left_s == float("inf") else max(0.0, left_s))
            except queue.Empty:
                job = _Job(self._database.idle)
            try:
                job.finish(job.work(), None)
            except StoreError as error:
                job.finish(None, error)
            except Exception as error:  # noqa: BLE001  (a thread's main: who awaits the job gets the error)
                self._database.failing = str(error)
                job.finish(None, error)


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:  # whatever it was, half a transaction must not be committed by the next
        if database.in_transaction:  # some errors (disk full, I/O) have rolled back already
            database.execute("ROLLBACK")
        raise


def _trim(database: sqlite3.Connection) -> int:
    """Drop the oldest records beyond the bound. How many."""
    (count,) = database.execute("SELECT count(*) FROM outbox").fetchone()
    dropped = max(0, int(count) - MAX_RECORDS)
    if dropped:
        oldest = "SELECT seq FROM outbox ORDER BY seq LIMIT ?"
        database.execute(f"DELETE FROM outbox WHERE seq IN ({oldest})", (dropped,))  # noqa: S608  (constant text)
        database.execute("UPDATE station SET dropped = dropped + ?", (dropped,))
    return dropped


def _configure(database: sqlite3.Connection) -> None:
    """Set the PRAGMAs and see that they took effect: SQLite refuses some without a word."""
    for name, (wanted, expected) in _PRAGMAS.items():
        database.execute(f"PRAGMA {name} = {wanted}")
        (found,) = database.execute(f"PRAGMA {name}").fetchone()
        if expected is not None and found != expected:
            raise OSError(errno.ENOTSUP, f"SQLite has {name} = {found} where {wanted} is needed; use ext4")


def _is_damage(error: Exception) -> bool:
    """Whether the file is at fault (and another one would do), and not the disk or a permission."""
    if isinstance(error, UnreadableError):
        return True
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    reading = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
    return code & 0xFF in _DAMAGED or code in reading


def _words(error: Exception) -> str:
    if isinstance(error, sqlite3.Error):
        words = _WORDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "the file is damaged")
        return f"{words} ({error})"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _salvage(path: Path) -> tuple[InstanceId | None, dict[str, bytes]]:
    """What of a file can still be read: a station keeps its instance id for ever, and no record may be lost. Not under
    an exclusive lock, which a descriptor that is open for reading cannot take (fcntl(2), F_SETLK)."""
    instance: InstanceId | None = None
    records: dict[str, bytes] = {}
    with contextlib.suppress(sqlite3.Error, msgspec.MsgspecError, TypeError, ValueError):
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
        with contextlib.closing(database):
            (found,) = database.execute("SELECT instance FROM station").fetchone()
            instance = InstanceId(found) if isinstance(found, str) and 0 < len(found) <= 128 else None
            for call_id, raw in database.execute("SELECT call_id, record FROM outbox ORDER BY seq"):
                msgspec.json.decode(raw, type=CallRecord)
                records[str(call_id)] = raw
    return instance, records
