"""What a call costs the card: bytes, writes and flushes at a block device with the state's ext4 on it, while the
shipped store does what a call asks of it, at a call's own pace (ext4 writes its journal every 5 s by itself, so that a
hurried measurement would find too little).

As a program (`python -m tests.crash.budget DIRECTORY PACE...`) it is that store, in a process of its own.
"""

import asyncio
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from intercomd.adapters.sqlite import SqliteStore
from intercomd.demo.supervisor import dies_with_us
from tests.crash.kernel import Loop, mounted
from tests.crash.life import Life

CALL = ("dial", "accepted", "hang up", "upload")
CALL_PACE_S = (6.0, 37.0, 0.1, 12.0)
"""It rings for 6 s, they talk for 37 s (at 30 s the store writes the call's time anew), the record is at the hub at
once, and the next call is a while off."""
CHANGES_IN_CALL = len(CALL) + 1
PACED = ("dial", "accepted", "speaker", "speaker", "hang up", "upload")
PACED_S = (6.0,) * len(PACED)
"""The budget's own measure: one change every 6 s, each of which meets ext4's journal alone."""
SETTLE_S = 8.0
DISK = 64 << 20
LIMIT_S = 500.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of `changes` changes. `writes` are write requests, as the device got them."""

    changes: int = 0
    bytes: int = 0
    writes: int = 0
    flushes: int = 0
    fdatasyncs: int = 0
    fsyncs: int = 0

    def minus(self, other: "Cost", changes: int) -> "Cost":
        mine, others = self.counts(), other.counts()
        return Cost(changes, *(new - old for new, old in zip(mine, others, strict=True)))

    def counts(self) -> tuple[int, ...]:
        return self.bytes, self.writes, self.flushes, self.fdatasyncs, self.fsyncs


@dataclass(frozen=True, slots=True)
class Costs:
    calls: int
    call: Cost
    paced: Cost
    burst: Cost


def measure(calls: int) -> Costs:
    """`calls` of them, and twice as many changes as they have one every 6 s; both at once, on two devices."""
    results: dict[str, Cost] = {}
    rounds = max(1, calls)

    def one(name: str, words: Sequence[str], pace_s: Sequence[float], repeat: int, changes: int) -> None:
        results[name] = _cost(words, pace_s, repeat, changes)

    threads = [
        threading.Thread(target=one, args=("call", CALL, CALL_PACE_S, rounds, rounds * CHANGES_IN_CALL)),
        threading.Thread(target=one, args=("paced", PACED, PACED_S, rounds, rounds * len(PACED))),
        threading.Thread(target=one, args=("burst", CALL, (0.0,) * len(CALL), 100, 100 * len(CALL))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    return Costs(rounds, results["call"], results["paced"], results["burst"])


def _cost(words: Sequence[str], pace_s: Sequence[float], repeat: int, changes: int) -> Cost:
    with TemporaryDirectory(prefix="intercomd-budget-") as name:
        directory = Path(name)
        counters = directory / "syncs"
        counters.write_bytes(bytes(16))
        place = directory / "mount"
        place.mkdir()
        file = os.memfd_create("budget")
        loop = None
        try:
            os.ftruncate(file, DISK)
            _make(file)
            loop = Loop(file)
            with mounted(loop.device, place):
                return _lived(loop, place, counters, directory, words, pace_s, repeat, changes)
        finally:
            if loop is not None:
                loop.close()
            os.close(file)


def _make(file: int) -> None:
    at_once = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    argv = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-E", at_once, f"/proc/self/fd/{file}"]
    subprocess.run(argv, pass_fds=(file,), check=True, timeout=60)


def _lived(
    loop: Loop,
    place: Path,
    counters: Path,
    directory: Path,
    words: Sequence[str],
    pace_s: Sequence[float],
    repeat: int,
    changes: int,
) -> Cost:
    paces = [f"{word}={pace}" for word, pace in zip(words, pace_s, strict=True)]
    argv = [sys.executable, "-m", "tests.crash.budget", str(place / "state"), *(paces * repeat)]
    env = {**os.environ, "SYNCS": str(counters), "LD_PRELOAD": str(_counting(directory))}
    with subprocess.Popen(dies_with_us(argv), env=env, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as life:
        assert life.stdout is not None
        assert life.stdin is not None
        if life.stdout.readline() != b"begun\n":
            raise OSError("the store of the budget's measurement did not start")
        before = _counts(loop, counters)
        life.stdin.write(b"\n")
        life.stdin.flush()
        if life.stdout.readline() != b"done\n":
            raise OSError("the store of the budget's measurement broke off")
        cost = _counts(loop, counters).minus(before, changes)
        life.stdin.close()
        life.wait(30)
    return cost


def _counts(loop: Loop, counters: Path) -> Cost:
    """Documentation/block/stat.rst: writes, sectors of 512 bytes written, flushes."""
    fields = [int(word) for word in Path(f"/sys/block/{loop.device.name}/stat").read_text().split()]
    fdatasyncs, fsyncs = struct.unpack("=QQ", counters.read_bytes())
    return Cost(0, fields[6] * 512, fields[4], fields[15], fdatasyncs, fsyncs)


def _counting(directory: Path) -> Path:
    library = directory / "syncs.so"
    source = Path(__file__).with_name("syncs.c")
    argv = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(argv, check=True, timeout=60)
    return library


async def _live(directory: Path, paces: Sequence[str]) -> None:
    store = SqliteStore(directory)
    life = Life(store, lambda _: None, "budget")
    await life.begin()
    await asyncio.sleep(SETTLE_S)
    print("begun", flush=True)
    sys.stdin.readline()
    for pace in paces:
        word, _, pause = pace.partition("=")
        due_s = time.monotonic() + float(pause)
        await life.hear(word)
        await asyncio.sleep(due_s - time.monotonic())
    await asyncio.sleep(SETTLE_S)
    print("done", flush=True)
    sys.stdin.readline()
    await store.close()


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1]), sys.argv[2:]))
