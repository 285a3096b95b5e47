"""Crash states of a disk: the shipped store with the shipped SQLite on a real ext4, whose journal is replayed by the
kernel in every state before the store reads it."""

import asyncio
import errno
import mmap
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from intercomd.adapters.sqlite import SqliteStore
from tests.crash.kernel import Loop, mounted
from tests.crash.life import Life, Process, Script, life_of, read_back, ticking
from tests.crash.promise import Found, Mark
from tests.crash.recorder import Recorder
from tests.crash.states import SECTOR, Change, Event, Flush, Write, pieces

SIZE = 12 << 20
"""Of the disk: 4 MiB of it are the smallest journal that mke2fs makes for blocks of 4 KiB."""
GROUP = 1024
"""Blocks to a group, so that there is a second one, whose first block is a copy of the superblock."""
BEGIN = Mark("begin", False)
"""In a recording: nothing is to be tried before it."""
STATE = "state"
_TORN = (errno.EBADMSG, errno.EUCLEAN)
_ZEROS = bytes(SECTOR)


class Disk:
    """`states.Medium`: a disk's content. A flush makes everything before it durable."""

    def __init__(self, image: bytes) -> None:
        self.image = bytearray(image)
        self._key = 0
        whole = bytes(image)
        for at in range(0, len(whole), SECTOR):
            self._key ^= _hash(at, whole[at : at + SECTOR])

    def settle(self, event: Event, pending: Sequence[Change]) -> tuple[list[Change], list[Change]] | None:
        return (list(pending), []) if isinstance(event, Flush) else None

    def apply(self, changes: Sequence[Change]) -> None:
        sectors = _sectors(changes)
        self._key = self._key_with(sectors)
        _lay(sectors, self.image)

    def differs(self, piece: Write) -> bool:
        return self.image[piece.at : piece.at + len(piece.data)] != piece.data

    def after(self, changes: Sequence[Change], into: "mmap.mmap | bytearray") -> None:
        """The whole content if these arrived as well."""
        into[:] = self.image
        _lay(_sectors(changes), into)

    def key(self, changes: Sequence[Change]) -> int:
        """Equal for equal contents, of whatever disk."""
        return self._key_with(_sectors(changes))

    def _key_with(self, sectors: Mapping[int, bytes]) -> int:
        key = self._key
        for at, data in sectors.items():
            key ^= _hash(at, bytes(self.image[at : at + SECTOR])) ^ _hash(at, data)
        return key


def _hash(at: int, sector: bytes) -> int:
    """Most of a disk is zeros."""
    return hash((at, sector)) if sector != _ZEROS else 0


def _sectors(changes: Iterable[Change]) -> dict[int, bytes]:
    """The newest of each."""
    writes = (change for change in changes if isinstance(change, Write))
    return {piece.at: piece.data for write in writes for piece in pieces(write)}


def _lay(sectors: Mapping[int, bytes], into: "mmap.mmap | bytearray") -> None:
    for at, data in sectors.items():
        into[at : at + SECTOR] = data


class Lab:
    """A recording disk and one to read states from, with an ext4 on each. Call `kernel.own_mounts` before."""

    def __init__(self) -> None:
        self.repaired = 0
        """States that were mounted only after the check of the disk."""
        with ExitStack() as stack:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="intercomd-crash-", dir="/dev/shm")))
            self._place = directory / "mount"
            self._place.mkdir()
            self.empty = _empty(directory / "empty")
            self._recorder = Recorder(directory, SIZE)
            stack.callback(self._recorder.close)
            self._recorded = Loop(self._recorder.descriptor)
            stack.callback(self._recorded.close)
            file = os.memfd_create("crash state")
            stack.callback(os.close, file)
            os.ftruncate(file, SIZE)
            self._state = mmap.mmap(file, SIZE)
            stack.callback(self._state.close)
            self._loop = Loop(file)
            stack.callback(self._loop.close)
            self._runner = stack.enter_context(asyncio.Runner())
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def record(self, script: Script, name: str) -> list[Event]:
        """A life from an empty disk on, each process a real one; a clean close is followed by a clean reboot."""
        self._lay(self.empty)
        with ExitStack() as mount:
            mount.enter_context(self._mounted())
            if script.before is not None:
                self._fork(script.before, f"{name}.before")
                mount.close()
                mount.enter_context(self._mounted())
            self._recorder.tell(BEGIN)
            for number, process in enumerate(script.processes):
                self._fork(process, f"{name}.{number}")
                if process.closes:
                    mount.close()
                    mount.enter_context(self._mounted())
        return self._recorder.events()

    def record_recovery(self, image: bytes, words: Sequence[str], name: str) -> tuple[bytes, list[Event]]:
        """What the kernel and the store write when they start on what a crash left, and go on. With the disk on which
        they did: a torn superblock is mended first, or there is no start."""
        self._lay(image)
        try:
            return image, self._recovered(words, name)
        except OSError as error:
            if error.errno not in _TORN:
                raise
        self._check(self._recorded)
        mended = os.pread(self._recorder.descriptor, SIZE, 0)
        self._lay(mended)
        return mended, self._recovered(words, name)

    def _recovered(self, words: Sequence[str], name: str) -> list[Event]:
        with self._mounted():
            return self._runner.run(self._recover(words, name))

    async def _recover(self, words: Sequence[str], name: str) -> list[Event]:
        store = SqliteStore(self._place / STATE, ticking())
        try:
            await Life(store, self._recorder.tell, name).live(words)
            return self._recorder.events()
        finally:
            await store.close()

    def record_with(self, live: Callable[[Path, Callable[[Mark], None]], None]) -> list[Event]:
        """As `record`, for a process that `live` plays."""
        self._lay(self.empty)
        with self._mounted():
            self._recorder.tell(BEGIN)
            _in_a_process(lambda: live(self._place, self._recorder.tell))
        return self._recorder.events()

    def found(self, disk: Disk, changes: Sequence[Change]) -> Found:
        """What the shipped store reads when the machine starts with this."""
        disk.after(changes, self._state)
        self._loop.forget()
        try:
            return self._start()
        except OSError as error:
            if error.errno not in _TORN:
                return Found(problem=str(error))
        self.repaired += 1
        said = self._check(self._loop)
        try:
            return self._start()
        except OSError as error:
            return Found(problem=f"{error}; e2fsck said: {said}")

    def _start(self) -> Found:
        with mounted(self._loop.device, self._place):
            return self._runner.run(self._read())

    def _check(self, disk: Loop) -> str:
        """ext4's superblock is 1 KiB: torn between its two sectors it has a wrong checksum. What checks the disks at
        boot takes its copy then; on a disk of the usual size it finds it by itself. Its last words."""
        argv = ["e2fsck", "-fy", "-b", str(GROUP), "-B", "4096", str(disk.device)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        disk.forget()
        return f"{done.stdout} {done.stderr}"[-500:]

    async def _read(self) -> Found:
        store = SqliteStore(self._place / STATE, ticking())
        try:
            return await read_back(store)
        finally:
            await store.close()

    def _lay(self, image: bytes) -> None:
        self._recorded.forget()
        self._recorder.lay(image)
        self._recorded.forget()

    def _mounted(self) -> AbstractContextManager[None]:
        return mounted(self._recorded.device, self._place)

    def _fork(self, process: Process, name: str) -> None:
        place, tell = self._place / STATE, self._recorder.tell
        _in_a_process(lambda: asyncio.run(_left(process, place, tell, name)))


async def _left(process: Process, place: Path, tell: Callable[[Mark], None], name: str) -> None:
    store = await life_of(process, place, tell, name)
    if not process.closes:
        os._exit(0)
    await store.close()


def _in_a_process(work: Callable[[], object]) -> None:
    """Which ends without closing anything. This one has no other thread."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001  (the parent hears of it by the status)
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise AssertionError("the recorded life broke off; its reason is above")


def _empty(file: Path) -> bytes:
    """As Debian makes it, all of it written at once: no thread of the kernel goes on later."""
    file.write_bytes(bytes(SIZE))
    at_once = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    argv = [
        "mkfs.ext4",
        "-q",
        "-F",
        "-b",
        "4096",
        "-g",
        str(GROUP),
        "-J",
        "size=4",
        "-m",
        "0",
        "-N",
        "64",
        "-E",
        at_once,
        str(file),
    ]
    subprocess.run(argv, check=True, timeout=60)
    image = file.read_bytes()
    file.unlink()
    return image
