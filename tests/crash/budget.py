"""What a call costs the card: bytes, writes and flushes at a block device with the state's ext4 on it, while the
shipped store does what a call asks of it, at a call's own pace (ext4 writes its journal every 5 s by itself, so that a
hurried measurement would find too little).

As a program (`python -m tests.crash.budget DIRECTORY CALLS PAUSE PACE...`) it is that store, in a process of its own.
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
WARM = "50"
"""Calls until the WAL has come round: 6 pages each, and a checkpoint at 200."""
SETTLE_S = 8.0
WRITEBACK_S = 40.0
"""What was made dirty before the measurement is on the card by then (vm.dirty_expire_centisecs, 30 s)."""
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
class Case:
    """`words` `rounds` times over, each with the pause that follows it. `settled`: after the WAL has come round once
    and is only overwritten; before that it grows, and ext4 writes down its new size with every change."""

    name: str
    words: tuple[str, ...]
    pauses_s: tuple[float, ...]
    changes: int
    rounds: int
    settled: bool = True


def cases(calls: int) -> tuple[Case, ...]:
    """Without calls only the one that does not wait."""
    burst = Case("burst", CALL, (0.0,) * len(CALL), len(CALL), 100)
    if not calls:
        return (burst,)
    return (
        Case("call", CALL, CALL_PACE_S, CHANGES_IN_CALL, calls),
        Case("paced", PACED, PACED_S, len(PACED), calls),
        Case("grows", PACED, PACED_S, len(PACED), calls, settled=False),
        burst,
    )


def measure(calls: int) -> dict[str, Cost]:
    """The cost of each case; all at once, each on a device of its own."""
    every = cases(calls)
    results: dict[str, Cost] = {}
    threads = [threading.Thread(target=lambda case=case: results.update({case.name: _cost(case)})) for case in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    if len(results) < len(every):
        raise OSError(f"not measured: {sorted({case.name for case in every} - results.keys())}")
    return results


def _cost(case: Case) -> Cost:
    with TemporaryDirectory(prefix="intercomd-budget-", dir="/dev/shm") as name:
        directory = Path(name)
        (directory / "mount").mkdir()
        (directory / "syncs").write_bytes(bytes(16))
        file = os.memfd_create("budget")
        loop = None
        try:
            os.ftruncate(file, DISK)
            _make(file)
            loop = Loop(file)
            with mounted(loop.device, directory / "mount"):
                return _lived(case, loop, directory)
        finally:
            if loop is not None:
                loop.close()
            os.close(file)


def _make(file: int) -> None:
    at_once = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    argv = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-E", at_once, f"/proc/self/fd/{file}"]
    subprocess.run(argv, pass_fds=(file,), check=True, timeout=60)


def _lived(case: Case, loop: Loop, directory: Path) -> Cost:
    counters = directory / "syncs"
    paces = [f"{word}={pause}" for word, pause in zip(case.words, case.pauses_s, strict=True)] * case.rounds
    before = [WARM, str(WRITEBACK_S if case.pauses_s[0] else SETTLE_S)] if case.settled else ["0", str(SETTLE_S)]
    argv = [sys.executable, "-m", "tests.crash.budget", str(directory / "mount" / "state"), *before, *paces]
    env = {**os.environ, "SYNCS": str(counters), "LD_PRELOAD": str(_counting(directory))}
    with subprocess.Popen(dies_with_us(argv), env=env, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as life:
        _hear(life, b"begun\n")
        start = _counts(loop, counters)
        _answer(life)
        _hear(life, b"done\n")
        cost = _counts(loop, counters).minus(start, case.changes * case.rounds)
        _answer(life)
        life.wait(30)
    return cost


def _hear(life: "subprocess.Popen[bytes]", word: bytes) -> None:
    assert life.stdout is not None
    if life.stdout.readline() != word:
        raise OSError("the store of the budget's measurement broke off")


def _answer(life: "subprocess.Popen[bytes]") -> None:
    assert life.stdin is not None
    life.stdin.write(b"\n")
    life.stdin.flush()


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


async def _live(directory: Path, before: int, pause_s: float, paces: Sequence[str]) -> None:
    store = SqliteStore(directory)
    life = Life(store, lambda _: None, "budget")
    await life.begin()
    for word in CALL * before:
        await life.hear(word)
    await asyncio.sleep(pause_s)
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
    asyncio.run(_live(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
