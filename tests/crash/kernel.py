"""Linux, called directly: mounts in a namespace of one's own, and loop devices that go with the process that holds
them. Whatever ends the process, nothing stays behind. Raises OSError."""

import ctypes
import errno
import fcntl
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

# mount(2), unshare(2), prctl(2), loop(4), linux/fs.h
MS_NOATIME, MS_REC, MS_PRIVATE = 0x400, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x20000
LOOP_SET_FD, LOOP_SET_STATUS64, LOOP_CTL_GET_FREE = 0x4C00, 0x4C04, 0x4C82
LO_FLAGS_AUTOCLEAR = 4
BLKFLSBUF = 0x1261
_FLAGS_AT, _INFO_SIZE = 52, 232
"""struct loop_info64: lo_flags after five 64-bit and three 32-bit fields."""

BUSY_LIMIT_S = 10.0
_STEP_S = 0.001


def own_mounts() -> None:
    """From here on this process sees its own mounts and its own /dev/shm, and nobody else sees them; and it ends with
    its parent."""
    _checked(_LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    _checked(_LIBC.unshare(CLONE_NEWNS), "unshare")
    _checked(_LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate /")
    _checked(_LIBC.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777"), "mount /dev/shm")


@contextmanager
def mounted(device: Path, place: Path) -> Iterator[None]:
    """ext4, with its journal replayed."""
    arguments = (bytes(device), bytes(place), b"ext4", MS_NOATIME, b"")
    _checked(_LIBC.mount(*arguments), f"mount {device}")
    try:
        yield
    finally:
        _unmount(place)


def _unmount(place: Path) -> None:
    """What has just been closed may keep it busy for a moment."""
    end_s = time.monotonic() + BUSY_LIMIT_S
    while _LIBC.umount2(bytes(place), 0):
        if ctypes.get_errno() != errno.EBUSY or time.monotonic() > end_s:
            raise OSError(ctypes.get_errno(), f"umount {place}")
        time.sleep(_STEP_S)


def detach(place: Path) -> None:
    """Take a mount out of sight; it ends with its last user."""
    _checked(_LIBC.umount2(bytes(place), MNT_DETACH), f"umount {place}")


class Loop:
    """A block device on a file; open as long as this is."""

    def __init__(self, file: int) -> None:
        self._descriptor, self.device = _attached(file)
        info = bytearray(_INFO_SIZE)
        struct.pack_into("=I", info, _FLAGS_AT, LO_FLAGS_AUTOCLEAR)
        fcntl.ioctl(self._descriptor, LOOP_SET_STATUS64, bytes(info))

    def forget(self) -> None:
        """What the kernel has read of the device: its file has changed underneath."""
        fcntl.ioctl(self._descriptor, BLKFLSBUF, 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _attached(file: int) -> tuple[int, Path]:
    """A free device may be taken by somebody else before we have it."""
    end_s = time.monotonic() + BUSY_LIMIT_S
    while True:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        try:
            device = Path(f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}")
        finally:
            os.close(control)
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, LOOP_SET_FD, file)
        except OSError as error:
            os.close(descriptor)
            if error.errno != errno.EBUSY or time.monotonic() > end_s:
                raise
            time.sleep(_STEP_S)
        else:
            return descriptor, device


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
