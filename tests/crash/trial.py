"""One trial: a life recorded, every state that a crash may leave of it read back and judged, some of them the start of
a second recording (a crash during recovery). Runs in a process of its own."""

import gzip
import io
import itertools
import pickle
import tarfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from multiprocessing.util import Finalize
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from intercomd.adapters import sqlite
from tests.crash import full_disk, vfs
from tests.crash.block import BEGIN, Disk, Lab
from tests.crash.life import Process, Script, script
from tests.crash.promise import Found, Mark, Promise
from tests.crash.states import Crash, Event, Medium, crashes

KEPT = Path(__file__).parents[2] / "build" / "crash"
MODES: Mapping[str, dict[str, tuple[object, object]]] = {
    "shipped": dict(sqlite._PRAGMAS),
    "DELETE+FULL": {"journal_mode": ("DELETE", "delete"), "synchronous": ("FULL", 2)},
    "WAL+NORMAL": {"journal_mode": ("WAL", "wal"), "synchronous": ("NORMAL", 1), "wal_autocheckpoint": (200, 200)},
}
"""The shipped one, and two known to lose what they have acknowledged: SQLite's default, and a usual advice. These with
SQLite's usual locks: under an exclusive one DELETE keeps its journal, and so hides its fault."""
AGAIN = Process(("rings", "cancelled"), closes=False)
"""What is lived after a crash until the second one."""
MAX_KEPT = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """`level` is block, vfs or full (block, with a disk that fills). Of every `again_every`-th state the recovery is
    recorded and cut off in its turn; 0: of none."""

    level: str
    mode: str
    seed: int
    parts: int
    again_every: int = 0

    @property
    def name(self) -> str:
        return f"{self.level}-{self.mode.replace('+', '-')}-{self.seed}".lower()


@dataclass(frozen=True, slots=True)
class Broken:
    where: str
    problem: str
    kept: str = ""


@dataclass(slots=True)
class Outcome:
    trial: Trial
    states: int = 0
    """Different ones that were read back."""
    judged: int = 0
    """A state may be left by several crashes, under different promises."""
    again: int = 0
    """Of the states, those of a second crash."""
    repaired: int = 0
    refused: int = 0
    """Saves that the store refused."""
    broken: int = 0
    lost: int = 0
    """Of the broken ones: something acknowledged is not there."""
    first: list[Broken] = field(default_factory=list)
    seconds: float = 0.0


class Level(ABC):
    """What differs between a disk and files."""

    @abstractmethod
    def record(self, trial: Trial) -> tuple[Medium, list[Event], int]:
        """The medium as it was, the events, and the number of the first that is to be tried."""

    @abstractmethod
    def record_again(self, medium: Any, crash: Crash, name: str) -> tuple[Medium, list[Event]]: ...

    @abstractmethod
    def key(self, medium: Any, crash: Crash) -> int: ...

    @abstractmethod
    def found(self, medium: Any, crash: Crash) -> Found: ...

    @abstractmethod
    def keep(self, medium: Any, crash: Crash, place: Path) -> Path:
        """Write the state to a file for a person. Its name."""


class _Blocks(Level):
    def __init__(self) -> None:
        self.lab = Lab()
        Finalize(None, self.lab.close, exitpriority=10)

    def record(self, trial: Trial) -> tuple[Disk, list[Event], int]:
        if trial.level == "full":
            events = self.lab.record_with(full_disk.live)
        else:
            events = self.lab.record(script(trial.seed), trial.name)
        return Disk(self.lab.empty), events, events.index(BEGIN)

    def record_again(self, medium: Disk, crash: Crash, name: str) -> tuple[Disk, list[Event]]:
        image = bytearray(len(medium.image))
        medium.after(crash.arrived, image)
        start, events = self.lab.record_recovery(bytes(image), AGAIN.words, name)
        return Disk(start), events

    def key(self, medium: Disk, crash: Crash) -> int:
        return medium.key(crash.arrived)

    def found(self, medium: Disk, crash: Crash) -> Found:
        return self.lab.found(medium, crash.arrived)

    def keep(self, medium: Disk, crash: Crash, place: Path) -> Path:
        image = bytearray(len(medium.image))
        medium.after(crash.arrived, image)
        path = place.with_suffix(".img.gz")
        path.write_bytes(gzip.compress(bytes(image), 6))
        return path


class _Files(Level):
    def __init__(self) -> None:
        directory = TemporaryDirectory(prefix="intercomd-crash-", dir="/dev/shm")
        Finalize(None, directory.cleanup, exitpriority=10)
        self._reader = vfs.Reader(Path(directory.name))
        self._files: dict[str, bytes] = {}

    def record(self, trial: Trial) -> tuple[vfs.Files, list[Event], int]:
        recording = vfs.record(script(trial.seed), trial.name)
        return vfs.Files(), recording.events, recording.begin

    def record_again(self, medium: vfs.Files, crash: Crash, name: str) -> tuple[vfs.Files, list[Event]]:
        files = medium.after(crash.arrived)
        return vfs.Files(files), vfs.record(Script(None, (AGAIN,)), name, files).events

    def key(self, medium: vfs.Files, crash: Crash) -> int:
        self._files = medium.after(crash.arrived)
        return hash(frozenset(self._files.items()))

    def found(self, medium: vfs.Files, crash: Crash) -> Found:
        """Of the state whose key was asked for last."""
        return self._reader.found(self._files)

    def keep(self, medium: vfs.Files, crash: Crash, place: Path) -> Path:
        path = place.with_suffix(".tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            for name, content in medium.after(crash.arrived).items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path


_levels: dict[str, Level] = {}


def _level(name: str) -> Level:
    """Made once in a process."""
    kind: Callable[[], Level] = _Files if name == "vfs" else _Blocks
    if kind.__name__ not in _levels:
        _levels[kind.__name__] = kind()
    return _levels[kind.__name__]


def run(trial: Trial) -> Outcome:
    began_s = time.monotonic()
    with vfs.patched(sqlite, _PRAGMAS=MODES[trial.mode]):
        outcome = _Run(trial, _level(trial.level)).run()
    outcome.seconds = time.monotonic() - began_s
    return outcome


def replay(file: Path) -> Outcome:
    """The states of a recording that was kept, once more: the same ones."""
    trial, recording = pickle.loads(gzip.decompress(file.read_bytes()))
    with vfs.patched(sqlite, _PRAGMAS=MODES[trial.mode]):
        return _Run(trial, _level(trial.level)).replay(recording)


@dataclass(frozen=True, slots=True)
class Recording:
    """All that its states depend on. `medium` is as it was before the first event; before event number `begin` nothing
    is to be tried."""

    medium: Medium
    events: Sequence[Event]
    begin: int = 0
    where: str = ""
    promise: Promise = field(default_factory=Promise)


class _Run:
    def __init__(self, trial: Trial, level: Level) -> None:
        self._level = level
        self._outcome = Outcome(trial)
        self._seen: dict[int, Found] = {}

    def run(self) -> Outcome:
        trial, outcome = self._outcome.trial, self._outcome
        lab = getattr(self._level, "lab", None)
        repaired = lab.repaired if lab else 0
        recording = Recording(*self._level.record(trial))
        outcome.refused = _refused(recording.events)
        for number, medium, crash in self._states(recording):
            if trial.again_every and number % trial.again_every == trial.again_every // 2:
                self._crash_again(medium, crash, number)
        outcome.repaired = lab.repaired - repaired if lab else 0
        return outcome

    def replay(self, recording: Recording) -> Outcome:
        for _ in self._states(recording):
            pass
        return self._outcome

    def _crash_again(self, medium: Medium, crash: Crash, number: int) -> None:
        where = f" after the recovery from event {crash.event}, {crash.how}"
        other, events = self._level.record_again(medium, crash, f"{self._outcome.trial.name}-{number}")
        before = self._outcome.states
        self.replay(Recording(other, events, where=where, promise=crash.promise))
        self._outcome.again += self._outcome.states - before

    def _states(self, recording: Recording) -> Iterator[tuple[int, Medium, Crash]]:
        """Judge every state, and give each that was not there before, with its number."""
        trial, seen, medium = self._outcome.trial, self._seen, deepcopy(recording.medium)
        seed = f"{trial.name}{recording.where}"
        for crash in crashes(recording.events, medium, seed, trial.parts, recording.promise):
            if crash.event < recording.begin:
                continue
            key = self._level.key(medium, crash)
            fresh = key not in seen
            if fresh:
                seen[key] = self._level.found(medium, crash)
                self._outcome.states += 1
            self._outcome.judged += 1
            problem = crash.promise.broken_by(seen[key])
            if problem:
                self._note(medium, crash, problem, recording)
            if fresh:
                yield len(seen), medium, crash

    def _note(self, medium: Medium, crash: Crash, problem: str, recording: Recording) -> None:
        outcome = self._outcome
        outcome.broken += 1
        outcome.lost += problem.startswith("lost")
        if len(outcome.first) >= MAX_KEPT:
            return
        where = f"seed {outcome.trial.seed}, event {crash.event} ({crash.how}){recording.where}"
        broken = Broken(where, problem)
        if outcome.trial.mode == "shipped":
            KEPT.mkdir(parents=True, exist_ok=True)
            place = KEPT / f"{outcome.trial.name}-{outcome.broken}"
            place.with_suffix(".recording.gz").write_bytes(gzip.compress(pickle.dumps((outcome.trial, recording)), 1))
            broken = replace(broken, kept=str(self._level.keep(medium, crash, place)))
        outcome.first.append(broken)


def _refused(events: Sequence[Event]) -> int:
    """Saves that were asked for and not acknowledged before the next was."""
    marks = [event for event in events if isinstance(event, Mark) and event.what == "save"]
    return sum(not mark.done and not after.done for mark, after in itertools.pairwise(marks))
