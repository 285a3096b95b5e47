"""A house for many short lives: short limits, daemons that come back at once, eyes on every panel and on the books.

The hub's books are read beside it, by connections that only read: they never checkpoint, so the WAL-reset bug of two
writing connections (SQLite up to 3.51.2) is out of reach. A living station locks its file for itself: of that, a copy.
"""

import asyncio
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from intercomd.adapters.sqlite import FILE_NAME
from intercomd.core.legs import HubCall
from intercomd.core.snapshot import Snapshot, unpack
from intercomd.demo.control import Control, ControlError
from intercomd.demo.house import House
from intercomd.demo.household import StationPlan, Tables
from intercomd.demo.supervisor import Program
from tests.bench.recovery.kills_agreement import Seen
from tests.bench.recovery.kills_audit import Books, Record

RING_S = 8.0
"""Long enough for a station to come back and ring again."""
GRACE_S = 60.0
"""Far beyond a start on a machine that is busy with other things: no call may end by it."""
SETTINGS: Tables = {
    "hub": {"grace_s": GRACE_S},
    "call": {"grace_s": GRACE_S, "retry_window_s": 1.0},
}
LOOK_AGAIN_S = 0.02
READ_LIMIT_S = 2.0
REPOSITORY = Path(__file__).parents[3]


class KillHouse(House):
    """`planted`: the name of a mistake that its daemons make (`kills_planted.py`), or nothing."""

    def __init__(self, planted: str = "") -> None:
        super().__init__(ring_timeout_s=RING_S, changed=SETTINGS, settled_s=0.0)
        self._planted = planted

    def _program(self, name: str, command: str, config: Path) -> Program:
        program = super()._program(name, command, config)
        if not self._planted:
            return program
        argv = [sys.executable, "-m", "tests.bench.recovery.kills_planted", self._planted, *program.argv[3:]]
        return Program(name, argv, {**program.environment, "PYTHONPATH": str(REPOSITORY)})


class Eyes:
    """What each panel shows now, for as long as this is entered. `heard(station, seen)` is called at every change."""

    def __init__(self, stations: Sequence[StationPlan], heard: Callable[[str, Seen], None]) -> None:
        self._stations = stations
        self._heard = heard
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self.seen: dict[str, Seen | None] = {station.name: None for station in stations}
        """None: nobody answers there."""

    async def __aenter__(self) -> "Eyes":
        self._tasks = [asyncio.create_task(self._watch(station)) for station in self._stations]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def forget(self, station: str) -> None:
        """Its daemon has just been killed."""
        self.seen[station] = None

    async def until(self, true: Callable[[], bool], limit_s: float) -> bool:
        """Wait until what is seen is so; False if it took too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not true():
                    self._changed.clear()
                    await self._changed.wait()
                return True
        return true()

    async def _watch(self, station: StationPlan) -> None:
        while True:
            with suppress(ControlError):
                async with Control(station.control) as control:
                    async for reply in control.stream({"command": "watch"}):
                        self._take(station.name, Seen.of(reply["status"]))
            self.seen[station.name] = None
            await asyncio.sleep(LOOK_AGAIN_S)

    def _take(self, name: str, seen: Seen) -> None:
        if seen != self.seen[name]:
            self.seen[name] = seen
            self._heard(name, seen)
            self._changed.set()


# ------------------------------------------------------------------------------------------------------------ the books


def open_calls(database: Path) -> list[HubCall]:
    """The hub's calls that are not over."""
    rows = _rows(database, "SELECT state FROM calls WHERE phase != 'ended' ORDER BY created_at")
    return [msgspec.json.decode(state, type=HubCall) for (state,) in rows]


def waiting_records(station: StationPlan) -> int:
    """How many records the station still holds, whether it lives or not. A copy that was made across a change counts
    as one that holds some: who waits looks again."""
    with _copy(station) as file:
        try:
            ((count,),) = _rows(file, "SELECT count(*) FROM outbox")
        except sqlite3.Error:
            return 1
    return int(count)


def books(database: Path, stations: Sequence[StationPlan]) -> Books:
    """Everything that is written down."""
    columns = "call_id, reported_by, outcome, reason, created_at, answered_at, ended_at"
    records = _rows(database, f"SELECT {columns} FROM call_records ORDER BY id")
    legs = _rows(database, "SELECT call_id, identity FROM call_legs WHERE reported_reason IS NOT NULL")
    kept = {station.name: _snapshot(station.state / FILE_NAME).call for station in stations}
    return Books(
        records=[Record(*row) for row in records],
        legs=frozenset((call_id, identity) for call_id, identity in legs),
        open_calls=[call.call_id for call in open_calls(database)],
        waiting={station.name: waiting_records(station) for station in stations},
        kept_calls={name: call.call_id for name, call in kept.items() if call is not None},
    )


@dataclass(frozen=True, slots=True)
class Flash:
    """What a dead station has left: how far its call had come, and how many records wait."""

    saved: str = ""
    waiting: int = 0


def flash_of(station: StationPlan) -> Flash:
    """Between the end of a daemon and its next start: of a copy, since opening the file would replay its WAL."""
    with _copy(station) as file:
        if not file.exists():
            return Flash()
        with closing(sqlite3.connect(file)) as database:
            try:
                ((raw,),) = database.execute("SELECT snapshot FROM station").fetchall()
                ((waiting,),) = database.execute("SELECT count(*) FROM outbox").fetchall()
            except (sqlite3.Error, ValueError):  # killed while the tables were being made
                return Flash()
    call = unpack(raw).call
    return Flash(call.phase.value if call else "", waiting)


@contextmanager
def _copy(station: StationPlan) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="intercomd-flash-") as directory:
        for name in (FILE_NAME, f"{FILE_NAME}-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(station.state / name, Path(directory) / name)
        yield Path(directory) / FILE_NAME


def _snapshot(path: Path) -> Snapshot:
    ((raw,),) = _rows(path, "SELECT snapshot FROM station")
    return unpack(raw)


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=READ_LIMIT_S)) as database:
        return database.execute(query).fetchall()
