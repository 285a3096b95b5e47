"""What a power cut may leave: everything that was flushed, and any part of what was not.

A medium (a disk with a cache, or a file system's files) gives events in the order in which it was asked. At each of
them the power may fail: then of the writes that no flush has covered, any may have arrived, in any order, some only
with some of their sectors. Where an older and a newer write meet, the newer one wins if both arrived.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from tests.crash.promise import Mark, Promise

SECTOR = 512
"""What a disk writes whole."""


@dataclass(frozen=True, slots=True)
class Write:
    """`file` is empty on a disk."""

    file: str
    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    file: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    file: str


@dataclass(frozen=True, slots=True)
class Delete:
    """`synced`: its directory was synced with it."""

    file: str
    synced: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    file: str
    size: int


Change = Write | Create | Delete | Truncate
Event = Change | Flush | Mark


class Medium(Protocol):
    """Its content is what is durable."""

    def settle(self, event: Event, pending: Sequence[Change]) -> tuple[list[Change], list[Change]] | None:
        """What the event makes durable and what stays pending; None where it makes nothing so."""
        ...

    def apply(self, changes: Sequence[Change]) -> None: ...

    def differs(self, piece: Write) -> bool:
        """Whether it would change what is durable. A disk's content is mostly zeros, and so are writes."""
        ...


@dataclass(frozen=True, slots=True)
class Crash:
    """The power fails after event number `event`; of what is pending, `arrived` is there too."""

    event: int
    how: str
    arrived: tuple[Change, ...]
    promise: Promise


def crashes(
    events: Sequence[Event], medium: Medium, seed: str, parts: int, promise: Promise | None = None
) -> Iterator[Crash]:
    """Every event's: nothing more, everything, the last one alone, and of the parts that the sectors can form all or,
    where there are more, `parts` by chance. Each depends on `seed` and its place only, so that one state can be made
    again by itself. `medium` moves along."""
    promise = promise or Promise()
    pending: list[Change] = []
    for number, event in enumerate(events):
        if isinstance(event, Mark):
            promise = promise.after(event)
            if event.done:
                yield Crash(number, "acknowledged, and nothing more arrived", (), promise)
                yield Crash(number, "acknowledged, and everything arrived", tuple(pending), promise)
                yield from _parts(number, [_units(medium, change) for change in pending], seed, parts, promise)
            continue
        settled = medium.settle(event, pending)
        if settled is None:
            assert not isinstance(event, Flush)
            pending.append(event)
            units = [_units(medium, change) for change in pending]
            if units[-1]:  # without anything new there is no new state
                yield Crash(number, "everything arrived", tuple(pending), promise)
                yield Crash(number, "the last write alone", (event,), promise)
                yield from _parts(number, units, seed, parts, promise)
        else:
            done, pending = settled
            medium.apply(done)
            yield Crash(number, "flushed", (), promise)


def _units(medium: Medium, change: Change) -> list[Change]:
    """What of a change can arrive by itself, and would be seen."""
    if not isinstance(change, Write):
        return [change]
    return [piece for piece in pieces(change) if medium.differs(piece)]


def _parts(
    number: int, changes: Sequence[Sequence[Change]], seed: str, parts: int, promise: Promise
) -> Iterator[Crash]:
    """Those with something of the newest change: the others were there before it."""
    units = [unit for change in changes for unit in change]
    if not units:
        return
    newest = range(len(units) - max(1, len(changes[-1])), len(units))
    every = 1 << len(units)
    for part in range(min(parts, every - 1)):
        dice = Random(f"{seed}/{number}/{part}")
        mask = part + 1 if every <= parts else _mask(dice, len(units)) | 1 << dice.choice(newest)
        if mask >> newest.start:
            arrived = tuple(unit for place, unit in enumerate(units) if mask >> place & 1)
            yield Crash(number, f"part {part}", arrived, promise)


def _mask(dice: Random, units: int) -> int:
    """Few of them, half, or most."""
    share = dice.choice((0.15, 0.5, 0.85))
    return sum(1 << place for place in range(units) if dice.random() < share)


def pieces(write: Write) -> Iterator[Write]:
    """By sector."""
    at, end = write.at, write.at + len(write.data)
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        yield Write(write.file, at, write.data[at - write.at : stop - write.at])
        at = stop
