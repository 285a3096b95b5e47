"""A life on a disk that is full for a while."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

from intercomd.adapters.sqlite import SqliteStore
from tests.crash.block import STATE
from tests.crash.life import Life, ticking
from tests.crash.promise import Mark

WORDS = (
    *("dial", "accepted", "hang up", "rings", "cancelled", "upload", "rings", "cancelled"),
    *("fill", "dial", "accepted", "speaker", "hang up", "rings", "cancelled", "upload", "free", "lands"),
    *("dial", "accepted", "hang up", "upload"),
)


def live(place: Path, tell: Callable[[Mark], None]) -> None:
    """Raises AssertionError where the store does not say that the disk is full, or says so of nothing."""
    asyncio.run(_live(place, tell))


async def _live(place: Path, tell: Callable[[Mark], None]) -> None:
    filler = place / "filler"
    store = SqliteStore(place / STATE, ticking())
    life = Life(store, tell, "full", {"fill": lambda: _fill(filler), "free": filler.unlink})
    await life.live(WORDS)
    assert life.refusals, "nothing was refused although the disk was full"
    wrong = [refusal for refusal in life.refusals if "full" not in refusal]
    assert not wrong, wrong
    await store.close()


def _fill(filler: Path) -> None:
    """Take every block, without writing a byte."""
    descriptor = os.open(filler, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size, step = 0, 1 << 20
        while step >= 4096:
            try:
                os.posix_fallocate(descriptor, size, step)
                size += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
