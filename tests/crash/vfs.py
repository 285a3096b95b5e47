"""Crash states of the store's files: the shipped store runs on apsw's SQLite over a file system in memory, which notes
what is asked of it. Each state is then written to real files and read by the shipped store with the shipped SQLite.

Two traps. A file system in Python has no shared memory, and without it SQLite has a WAL only under exclusive locking,
as the shipped store has it; but under exclusive locking the mode DELETE keeps its journal and so hides its fault:
exclusive for a WAL alone, and there also in the mode that would not ask for it. And
what the file system says of itself (sector size, power-safe overwrite) is what SQLite's own says on Linux, or SQLite
would write something else.
"""

import asyncio
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw

from intercomd.adapters import sqlite
from intercomd.adapters.sqlite import FILE_NAME
from tests.crash.life import Process, Script, life_of, read_at_once
from tests.crash.promise import Found, Mark
from tests.crash.states import Change, Create, Delete, Event, Flush, Truncate, Write

WRITERS_SQLITE = apsw.sqlite_lib_version()
FILE = Path("state") / FILE_NAME
NAME = "crash"
_UNIX_SECTOR = 4096


def name_of(file: str) -> str:
    """A file that was deleted and made again has the same name, but is another one."""
    return file.partition("#")[0]


class Files:
    """`states.Medium`: names and contents, as they are on the disk. A name is there for certain once its directory was
    synced: SQLite does so at the first sync of a new journal or WAL."""

    def __init__(self, content: Mapping[str, bytes] | None = None) -> None:
        self.names = {name: f"{name}#0" for name in content or {}}
        self.contents = {f"{name}#0": bytearray(raw) for name, raw in (content or {}).items()}

    def settle(self, event: Event, pending: Sequence[Change]) -> tuple[list[Change], list[Change]] | None:
        if isinstance(event, Flush):
            names = any(isinstance(change, Create) and change.file == event.file for change in pending)
            file = event.file
        elif isinstance(event, Delete) and event.synced:
            names, file = True, ""
        else:
            return None
        done: list[Change] = []
        rest: list[Change] = []
        for change in pending:
            settled = names if isinstance(change, Create | Delete) else change.file == file
            (done if settled else rest).append(change)
        return ([*done, event] if isinstance(event, Delete) else done), rest

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            _apply(change, self.names, self.contents)

    def differs(self, piece: Write) -> bool:
        """Zeros beyond the end are a hole if anything behind them arrives."""
        content = self.contents.get(piece.file, b"")
        return content[piece.at : piece.at + len(piece.data)].ljust(len(piece.data), b"\0") != piece.data

    def after(self, changes: Sequence[Change]) -> dict[str, bytes]:
        """The files if these arrived as well. What has no name is lost."""
        names, contents = dict(self.names), dict(self.contents)
        for file in {change.file for change in changes} & contents.keys():
            contents[file] = bytearray(contents[file])
        for change in changes:
            _apply(change, names, contents)
        return {name: bytes(contents[file]) for name, file in names.items()}


def _apply(change: Change, names: dict[str, str], contents: dict[str, bytearray]) -> None:
    content = contents.setdefault(change.file, bytearray())
    match change:
        case Create():
            names[name_of(change.file)] = change.file
        case Delete():
            if names.get(name_of(change.file)) == change.file:
                del names[name_of(change.file)]
        case Truncate(_, size):
            del content[size:]
        case Write(_, at, data):
            content.extend(bytes(max(0, at - len(content))))
            content[at : at + len(data)] = data


class Recorder(apsw.VFS):
    """A file system in memory that notes what it is asked in `events`. While `muted` it does nothing: so ends a
    process that is killed."""

    def __init__(self, content: Mapping[str, bytes] | None = None) -> None:
        self.events: list[Event] = []
        self.files = Files(content)
        self.muted = False
        self._made = 0
        super().__init__(NAME, "")

    def note(self, event: Event) -> None:
        if not self.muted:
            self.events.append(event)
            if not isinstance(event, Flush | Mark):
                self.files.apply([event])

    def make_file(self, path: Path) -> None:
        """As `flash.files.make_file`, which syncs the directory."""
        if str(path) not in self.files.names:
            self.note(Flush(self._create(str(path))))

    def _create(self, name: str) -> str:
        self._made += 1
        file = f"{name}#{self._made}"
        self.note(Create(file))
        return file

    # What SQLite calls.

    def xOpen(self, name: Any, flags: list[int]) -> "_File":  # noqa: N802
        flags[1] = flags[0]
        wanted = name.filename() if isinstance(name, apsw.URIFilename) else name or f"temporary-{id(flags)}"
        return _File(self, self.files.names.get(wanted) or self._create(wanted))

    def xDelete(self, name: str, sync_directory: bool) -> None:  # noqa: N802
        if name in self.files.names:
            self.note(Delete(self.files.names[name], sync_directory))

    def xAccess(self, name: str, flags: int) -> bool:  # noqa: N802
        return name in self.files.names

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name


class _File:
    """As SQLite's own is on Linux: sectors of 4096 bytes, and a write spoils nothing beside it."""

    def __init__(self, disk: Recorder, file: str) -> None:
        self._disk = disk
        self._file = file

    def xRead(self, amount: int, at: int) -> bytes:  # noqa: N802
        return bytes(self._disk.files.contents[self._file][at : at + amount])

    def xWrite(self, data: bytes, at: int) -> None:  # noqa: N802
        self._disk.note(Write(self._file, at, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.note(Truncate(self._file, size))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.note(Flush(self._file))

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._disk.files.contents[self._file])

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, operation: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self) -> None:  # noqa: N802
        pass


@contextmanager
def on_apsw(disk: Recorder) -> Iterator[None]:
    """Within it the shipped store's `sqlite3` is apsw over `disk`, which has the same calls but for `connect`."""

    def connect(path: str | Path, **_: object) -> apsw.Connection:
        database = apsw.Connection(str(path), vfs=NAME)
        if sqlite._PRAGMAS["journal_mode"][1] == "wal":
            database.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        return database

    def set_aside(*_: object) -> Path:
        raise AssertionError("the store wants to set its file aside")

    constants = {name: getattr(sqlite3, name) for name in dir(sqlite3) if name.startswith("SQLITE_")}
    shim = SimpleNamespace(connect=connect, Error=apsw.Error, Connection=apsw.Connection, **constants)
    with patched(sqlite, sqlite3=shim, make_file=disk.make_file, set_aside=set_aside):
        yield


@contextmanager
def patched(module: Any, **values: object) -> Iterator[None]:
    before = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


@dataclass(frozen=True, slots=True)
class Recording:
    """Before event number `begin` nothing is to be tried. `content` was there before the first one."""

    events: list[Event]
    begin: int = 0
    content: Mapping[str, bytes] = field(default_factory=dict)


def record(script: Script, name: str, content: Mapping[str, bytes] | None = None) -> Recording:
    """A life, on an empty file system or on what a crash left."""
    disk = Recorder(content)
    begin = 0
    try:
        with on_apsw(disk):
            for number, process in enumerate((*([script.before] if script.before else ()), *script.processes)):
                asyncio.run(_live(disk, process, f"{name}.{number}"))
                if process is script.before:
                    begin = len(disk.events)
    finally:
        disk.unregister()
    return Recording(disk.events, begin, content or {})


async def _live(disk: Recorder, process: Process, name: str) -> None:
    store = await life_of(process, FILE.parent, disk.note, name)
    disk.muted = True  # what a process that closed its store does now changes nothing either
    await store.close()
    disk.muted = False


class Reader:
    """Lays a state's files into a directory in memory and lets the shipped store read them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / FILE.parent
        self._directory.mkdir(mode=0o700)
        self._file = self._directory / FILE_NAME

    def found(self, files: Mapping[str, bytes]) -> Found:
        for name in os.listdir(self._directory):
            os.unlink(self._directory / name)
        for name, content in files.items():
            with open(self._directory / os.path.basename(name), "wb", buffering=0) as file:
                file.write(content)
        return read_at_once(self._file)
