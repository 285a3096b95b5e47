"""A disk in memory that notes every write and every flush in their order; between them the marks of who uses it.

It is a file of a FUSE file system, under a loop device: so it sees what a disk would see of a real ext4 (a loop device
has no FUA, a write with FUA comes as a write and a flush). Its own process, because whoever uses the disk waits for it
in the kernel. Beside `disk` there is `mark`, and `order`: "clear" or "dump FILE".
"""

import errno
import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path

import mfusepy

from intercomd.demo.supervisor import dies_with_us
from tests.crash.kernel import detach
from tests.crash.promise import Mark
from tests.crash.states import Event, Flush, Write

DISK, MARK, ORDER = "/disk", "/mark", "/order"
START_LIMIT_S = 10.0


class _Disk(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, size: int) -> None:
        self._content = bytearray(size)
        self._events: list[Event] = []

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path not in (DISK, MARK, ORDER):
            raise mfusepy.FuseOSError(errno.ENOENT)
        size = len(self._content) if path == DISK else 0
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

    def open(self, path: str, flags: int) -> int:
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._content[offset : offset + size]) if path == DISK else b""

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if path == DISK:
            self._content[offset : offset + len(data)] = data
            self._events.append(Write("", offset, bytes(data)))
        elif path == MARK:
            self._events.append(Mark.from_json(bytes(data).decode()))
        else:
            self._obey(bytes(data).decode())
        return len(data)

    def _obey(self, order: str) -> None:
        if order == "clear":
            self._events.clear()
        else:
            Path(order.removeprefix("dump ")).write_bytes(pickle.dumps(self._events))

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        if path == DISK:
            self._events.append(Flush())
        return 0

    def fallocate(self, path: str, mode: int, offset: int, length: int, fh: int) -> int:
        raise mfusepy.FuseOSError(errno.EOPNOTSUPP)  # then a loop device does not discard


class Recorder:
    """The process with the disk. `descriptor` is the disk as an open file."""

    def __init__(self, directory: Path, size: int) -> None:
        self._place = directory / "recorder"
        self._place.mkdir()
        self._dump = directory / "events"
        argv = [sys.executable, "-m", "tests.crash.recorder", str(self._place), str(size)]
        self._process = subprocess.Popen(dies_with_us(argv))
        self._wait()
        self.descriptor, self._mark, self._order = (
            os.open(f"{self._place}{name}", os.O_RDWR | os.O_CLOEXEC) for name in (DISK, MARK, ORDER)
        )

    def lay(self, image: bytes) -> None:
        """Make this the disk's content and forget what was recorded."""
        os.pwrite(self.descriptor, image, 0)
        os.pwrite(self._order, b"clear", 0)

    def tell(self, mark: Mark) -> None:
        os.pwrite(self._mark, mark.to_json().encode(), 0)

    def events(self) -> list[Event]:
        os.pwrite(self._order, f"dump {self._dump}".encode(), 0)
        events: list[Event] = pickle.loads(self._dump.read_bytes())
        return events

    def close(self) -> None:
        for descriptor in (self.descriptor, self._mark, self._order):
            os.close(descriptor)
        detach(self._place)
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        end_s = time.monotonic() + START_LIMIT_S
        while not Path(f"{self._place}{DISK}").exists():
            if self._process.poll() is not None or time.monotonic() > end_s:
                raise OSError(errno.EIO, "the recorder did not start: is libfuse there (package fuse3)?")
            time.sleep(0.01)


if __name__ == "__main__":
    mfusepy.FUSE(_Disk(int(sys.argv[2])), sys.argv[1], foreground=True, nothreads=True)
