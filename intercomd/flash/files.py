"""Files on the state partition: private modes, names that survive a power cut, and damaged files set aside."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path


class UnreadableError(Exception):
    """The file is damaged, foreign or from a newer version; the text says which. Another file would do."""


def make_file(path: Path) -> None:
    """Make `path` (0600) and its directory (0700) where they are missing; take wider modes down. Raises
    `UnreadableError` where something that can be set aside is in the file's place, else `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _restrict(path.parent, 0o700)
    fresh = not path.exists()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except IsADirectoryError:
        raise UnreadableError("a directory is in the file's place") from None
    except PermissionError:
        if os.access(path.parent, os.W_OK):
            raise UnreadableError("the file belongs to somebody else") from None
        raise
    _restrict(path, 0o600)
    if fresh:
        sync_directory(path.parent)


def set_aside(path: Path, companions: Sequence[str], keep: int) -> Path:
    """Rename `path` to the next free `.bad-N`, the files with the suffixes `companions` before it, and delete all
    but the newest `keep` of those. Returns the new name. Raises `OSError`."""
    numbers = _aside(path)
    place = Path(f"{path}.bad-{max(numbers, default=0) + 1}")
    for suffix in (*companions, ""):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{place}{suffix}")
    for old in _aside(path)[:-keep]:
        for suffix in (*companions, ""):
            with contextlib.suppress(OSError):  # a directory, or somebody else's: it may stay
                Path(f"{path}.bad-{old}{suffix}").unlink()
    sync_directory(path.parent)
    return place


def sync_directory(directory: Path) -> None:
    """A new or renamed file's name is on the disk only after its directory was synced."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _restrict(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o777 & ~mode:
        with contextlib.suppress(PermissionError):  # another owner, or a file system without modes
            path.chmod(mode)


def _aside(path: Path) -> list[int]:
    ends = (found.name.removeprefix(f"{path.name}.bad-") for found in path.parent.glob(f"{path.name}.bad-*"))
    return sorted(int(end) for end in ends if end.isdecimal())
