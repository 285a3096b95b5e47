"""Where stores keep their files, in memory and on disk, what is kept in them, and disks that are small."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Protocol

import pytest

from intercomd.adapters.sqlite import FILE_NAME, SqliteStore
from intercomd.core.snapshot import Role, SavedCall, SavedPhase, Snapshot, Tombstone
from intercomd.core.vocabulary import CallRecord, EndReason
from intercomd.fakes.store import FakeDisk, FakeStore
from intercomd.flash.instant import Instant
from intercomd.ids import CallId, IdentityId
from intercomd.ports import Store

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


def change(directory: Directory, statement: str, *values: object) -> None:
    database = sqlite3.connect(directory.path / FILE_NAME)
    with database:
        database.execute(statement, values)
    database.close()


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


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True)
