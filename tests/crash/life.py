"""A station's life as its store sees it: the shipped reducer decides what is written, the shipped store writes it.

A script is a row of processes' lives; each opens the store, goes through calls and closes it or simply stops. What the
store is asked and what it has answered is told as marks (`tests/crash/promise.py`).
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from msgspec.structs import replace

from intercomd.adapters.sqlite import SqliteStore, _Database
from intercomd.core import call as core
from intercomd.core.effects import Persist
from intercomd.core.events import (
    AnswerRequested,
    Booted,
    CallPressed,
    Card,
    Event,
    HangupPressed,
    LinkUp,
    Received,
    Replied,
    SpeakerPressed,
    Timer,
    TimerFired,
)
from intercomd.core.protocol import CallAccepted, CallCancelled, IncomingCall, Reply, Resync
from intercomd.core.station import Phase, Settings, Station
from intercomd.core.vocabulary import CallRecord, EndReason, Metrics
from intercomd.flash.instant import Instant
from intercomd.flash.ledger import Ledger
from intercomd.ids import CallId, IdentityId
from intercomd.ports import Loaded, StoreError
from tests.crash import promise
from tests.crash.promise import Found, Mark, State

PEER = IdentityId("flat")
METRICS = Metrics(0.213, 3, 1873, 0.0041, 0.0087, 37.52, 0.0016, 0.042)
STARTED_S = 1_800_000_000.0
ALL = 10_000
CALLS = (
    ("dial", "accepted", "talk", "hang up"),
    ("dial", "accepted", "speaker", "talk", "talk", "hang up"),
    ("rings", "answer", "talk", "hang up"),
    ("rings", "cancelled"),
    ("dial", "hang up"),
)


@dataclass(frozen=True, slots=True)
class Process:
    """What one process does; then it closes the store, or is gone without a word."""

    words: tuple[str, ...]
    closes: bool


@dataclass(frozen=True, slots=True)
class Script:
    """`before` has happened already when the recording begins, unless it is None: then the disk is empty."""

    before: Process | None
    processes: tuple[Process, ...]


def script(seed: int, calls: int = 3, processes: int = 3) -> Script:
    """Lives begin on an empty disk with a clean close after it; every sixth just before a checkpoint."""
    dice = Random(f"script {seed}")
    before = Process(("dial", "accepted", "hang up", "upload") * 30, closes=False) if seed % 6 == 2 else None
    return Script(before, tuple(_process(dice, calls, closes=True if not n else None) for n in range(processes)))


def _process(dice: Random, calls: int, *, closes: bool | None) -> Process:
    words: list[str] = []
    for _ in range(dice.randint(1, calls)):
        words += dice.choice(CALLS)
        if dice.random() < 0.6:
            words.append("upload")
    if closes is None:
        closes = dice.random() < 0.5
    if not closes:
        words = words[: dice.randint(1, len(words))]
    return Process(tuple(words), closes)


def ticking(from_s: float = STARTED_S) -> Callable[[], Instant]:
    """A clock that depends on nothing: 7 s from look to look."""
    ticks = itertools.count()

    def look() -> Instant:
        since_s = 7.0 * next(ticks)
        return Instant(from_s + since_s, "boot", since_s)

    return look


async def read_back(store: SqliteStore) -> Found:
    """What a starting station gets."""
    try:
        loaded = await store.load()
        records = await store.waiting_records(ALL)
    except StoreError as error:
        return Found(problem=str(error))
    return _found(loaded, records, store.failing, store.dropped_records)


def read_at_once(file: Path) -> Found:
    """The same without the store's thread, three times as fast."""
    ledger = Ledger()
    database = _Database(file, ledger, ticking())
    try:
        loaded, records = database.load(), database.waiting_records(ALL)
    except StoreError as error:
        return Found(problem=str(error))
    finally:
        database.close()
    return _found(loaded, records, database.failing, database.dropped + ledger.dropped)


def _found(loaded: Loaded, records: Sequence[CallRecord], failing: str | None, dropped: int) -> Found:
    found = promise.records_of(records)
    problem = loaded.quarantined or failing or ""
    if len(found) != len(records):
        problem = problem or "a record is there twice"
    if dropped:
        problem = problem or f"{dropped} records could not be read"
    return Found(loaded.instance, State.of(loaded.snapshot), found, problem)


class Life:
    """One process's. `tell` takes the marks; `outside` are words that somebody else knows (a disk that fills)."""

    def __init__(
        self,
        store: SqliteStore,
        tell: Callable[[Mark], None],
        name: str,
        outside: "dict[str, Callable[[], None]] | None" = None,
    ) -> None:
        self.store = store
        self.refusals: list[str] = []
        self._tell = tell
        self._outside = outside or {}
        self._ids = (CallId(f"{name}-{number:028d}") for number in itertools.count(1))
        self._now_s = (STARTED_S + 7.0 * number for number in itertools.count())
        self._seq = itertools.count(1)
        self._station = Station(Settings(peer_id=PEER), card=Card.READY)

    async def live(self, words: Sequence[str]) -> None:
        await self.begin()
        for word in words:
            await self.hear(word)

    async def begin(self) -> Found:
        """Start as the daemon does. A call that flash still has is over at the hub."""
        self._tell(promise.opening())
        found = await read_back(self.store)
        if found.problem:
            raise AssertionError(f"the store did not start: {found.problem}")
        self._tell(promise.opened(found))
        loaded = await self.store.load()
        for event in (Booted(loaded.snapshot, 1.0), LinkUp(), Replied(Resync(), Reply(True, calls=()))):
            await self._handle(event)
        return found

    async def hear(self, word: str) -> None:
        match word:
            case "talk":
                await self._refreshed()
            case "upload":
                await self._upload()
            case "lands":
                await self._landed()
            case _ if word in self._outside:
                await asyncio.to_thread(self._outside[word])
            case _:
                for event in self._events(word):
                    await self._handle(event)

    def _events(self, word: str) -> Iterator[Event]:
        call = self._station.call
        if word == "dial":
            yield CallPressed(next(self._ids))
        elif word == "rings":
            yield Received(IncomingCall(next(self._ids), next(self._seq), caller_id=PEER, ring_timeout=30.0))
        elif call is not None:
            yield from self._about(call.call_id, word)

    def _about(self, call_id: CallId, word: str) -> Iterator[Event]:
        match word:
            case "accepted":
                yield Received(CallAccepted(call_id, next(self._seq), accepter_id=PEER, epoch=1))
            case "answer":
                yield AnswerRequested()
            case "speaker":
                yield SpeakerPressed()
            case "cancelled":
                yield Received(CallCancelled(call_id, next(self._seq), reason=EndReason.CANCELLED))
            case "hang up":
                yield HangupPressed()
                yield TimerFired(Timer("ending", call_id))
            case _:
                raise ValueError(word)

    async def _handle(self, event: Event) -> None:
        self._station, effects = core.handle(self._station, event, next(self._now_s))
        for effect in effects:
            if isinstance(effect, Persist):
                await self._persist(effect)

    async def _persist(self, effect: Persist) -> None:
        record = replace(effect.record, metrics=METRICS) if effect.record else None
        self._tell(promise.saving(effect.snapshot, record))
        try:
            await self.store.save(effect.snapshot, record)
        except StoreError as error:
            self.refusals.append(str(error))
        else:
            self._tell(promise.saved())

    async def _refreshed(self) -> None:
        """The store's thread writes the time of a call anew by itself; here it does so at once."""
        if self._station.call is not None and self._station.call.phase is not Phase.ENDING:
            await self.store._do(self.store._database.idle)

    async def _upload(self) -> None:
        """The hub has taken the records. A forget that the disk did not take is no promise yet."""
        records: list[CallRecord] = list(await self.store.waiting_records(50))
        if not records:
            return
        self._tell(promise.forgetting(records))
        await self.store.forget_records([record.call_id for record in records])
        if self.store.failing is None:
            self._tell(promise.forgotten())

    async def _landed(self) -> None:
        """The store writes by itself what the disk did not take."""
        async with asyncio.timeout(20.0):
            while self.store.failing is not None:
                await asyncio.sleep(0.01)
        self._tell(promise.saved())


async def life_of(process: Process, directory: Path, tell: Callable[[Mark], None], name: str) -> SqliteStore:
    """A whole process. The store is closed, or left as it is: then the caller ends it in its own way."""
    store = SqliteStore(directory, ticking())
    await Life(store, tell, name).live(process.words)
    if process.closes:
        await store.close()
    return store
