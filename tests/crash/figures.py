"""What the crash tests have found, as rows of build/bench/crash.json, and whether the run passed."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.report import Peer, Row, row
from tests.crash.budget import Cost
from tests.crash.trial import Outcome
from tests.crash.vfs import WRITERS_SQLITE

SHIPPED = f"shipped store, WAL+FULL, SQLite {sqlite3.sqlite_version}, ext4"
FOREIGN = (
    f"the shipped store's statements, written by apsw's SQLite {WRITERS_SQLITE} (not the shipped one), read back by"
    f" the shipped store with SQLite {sqlite3.sqlite_version}"
)
PEERS = {"DELETE+FULL": "SQLite's default (DELETE+FULL)", "WAL+NORMAL": "SQLite with WAL+NORMAL"}
NOBODY = Peer(None, reason="no other intercom's store can be cut off so")
TITLES = {"block": "disk", "vfs": "files", "full": "full disk"}
BUDGET = "RELIABILITY.md: ≤ 20 KiB, ≤ 6 write I/Os, one fdatasync per change"
PARTS = (
    "6 KiB are the page of 2 KiB with its header (every other one lies across two blocks), 2 more where a record comes"
    " or goes, and 12 are ext4's journal, which writes down the WAL's time of change within 5 s"
)
_CALLS_A_DAY, _YEARS = 200, 10


@dataclass(frozen=True, slots=True)
class Measured:
    outcomes: Sequence[Outcome]
    costs: Mapping[str, Cost]
    calls: int
    """As many the costs were measured over."""
    gates: Mapping[str, int]
    seconds: float


def rows(measured: Measured) -> tuple[list[Row], bool]:
    """The gates decide; the budget's misses are results."""
    gated = [one for level in ("block", "vfs", "full") for one in _level(measured, level)]
    duration = row("duration", measured.seconds, "s", NOBODY, reason="at most 10 minutes on two cores")
    return [*gated, *_budget(measured), duration], all(one.ok is not False for one in gated)


def _level(measured: Measured, level: str) -> Iterator[Row]:
    ours = [one for one in measured.outcomes if one.trial.level == level and one.trial.mode == "shipped"]
    title, reason = TITLES[level], FOREIGN if level == "vfs" else SHIPPED
    states, judged = sum(one.states for one in ours), sum(one.judged for one in ours)
    broken = sum(one.broken for one in ours)
    gate = measured.gates.get(level, 1)
    yield _at_least(f"{title}: different crash states", states, "states", gate, reason)
    name = f"{title}: states where something acknowledged is lost, comes back, or is corrupt"
    for control, per_mille in _controls(measured.outcomes, level):
        mine = 1000.0 * broken / judged if judged else 1000.0
        beside = f"{name} (beside {control})"
        yield row(beside, mine, "of 1000", Peer(PEERS[control], per_mille), equal=0, reason=f"{broken} of {judged}")
        yield _at_least(f"{title}: {PEERS[control]} caught losing", per_mille, "of 1000", 1, "or nothing is proved")
    if level == "full":
        yield row(name, 1000.0 * broken / judged if judged else 1000.0, "of 1000", NOBODY, equal=0)
        refused = sum(one.refused for one in ours)
        words = "each said that the disk is full; with space again all of it landed by itself"
        yield _at_least("full disk: saves refused", refused, "saves", 1, words)
        return
    again = sum(one.again for one in ours)
    yield _at_least(f"{title}: of these, after a second crash in the recovery", again, "states", 1, "")
    if level == "block":
        repaired = sum(one.repaired for one in ours)
        words = "ext4's 1 KiB superblock torn between its two sectors: mounted after e2fsck, as a boot runs it"
        yield row("disk: of these, mounted after a check of the disk", repaired, "states", NOBODY, reason=words)
    seconds = sum(one.seconds for one in ours)
    yield row(f"{title}: states a second in one process", states / seconds if seconds else 0.0, "/s", NOBODY)


def _controls(outcomes: Sequence[Outcome], level: str) -> Iterator[tuple[str, float]]:
    """By chance nothing counts as caught but an acknowledged loss."""
    if level == "full":
        return
    for mode in PEERS:
        tried = [one for one in outcomes if one.trial.level == level and one.trial.mode == mode]
        judged = sum(one.judged for one in tried)
        yield mode, 1000.0 * sum(one.lost for one in tried) / judged if judged else 0.0


def _at_least(name: str, ours: float, unit: str, gate: float, reason: str) -> Row:
    ok = ours >= gate
    why = "; ".join(text for text in (reason, NOBODY.reason) if text)
    return Row(name, round(ours, 4), None, None, unit, f"≥ {gate:g}", ok, why)


def _budget(measured: Measured) -> Iterator[Row]:
    costs, calls = measured.costs, measured.calls
    nobody = Peer(None, reason="no other intercom says what it writes")
    burst = costs["burst"]
    text = f"{burst.changes} changes without a pause, SQLite's checkpoints among them"
    yield row("a change, in a burst: written", burst.bytes / 1024 / burst.changes, "KiB", nobody, reason=text)
    if "call" not in costs:
        return
    call = costs["call"]
    words = f"{calls} calls at their own pace, 43 s each: dial, answer, the time at 30 s, end with record, forget"
    yield row("a call: written to the card", call.bytes / 1024 / calls, "KiB", nobody, reason=words)
    yield row("a call: write I/Os", call.writes / calls, "", nobody, reason=words)
    yield row("a call: flushes of the card", call.flushes / calls, "", nobody, reason=words)
    gigabytes = call.bytes / calls * _CALLS_A_DAY * 365 * _YEARS / 1e9
    yield row(f"{_YEARS} years of {_CALLS_A_DAY} calls a day", gigabytes, "GB", nobody, reason=words)
    yield from _per_change("in a call", call, f"{words}; {PARTS}")
    yield from _per_change("one every 6 s", costs["paced"], f"{costs['paced'].changes} changes; {BUDGET}; {PARTS}")
    text = "the first 200 pages after a clean start: the WAL grows, and ext4 writes down its size each time"
    yield from _per_change("one every 6 s, after a start", costs["grows"], text)


def _per_change(name: str, cost: Cost, reason: str) -> Iterator[Row]:
    nobody = Peer(None, reason="the budget is our own")
    each = cost.changes
    yield row(f"a change, {name}: written", cost.bytes / 1024 / each, "KiB", nobody, at_most=20, reason=reason)
    yield row(f"a change, {name}: write I/Os", cost.writes / each, "", nobody, at_most=6, reason=reason)
    yield row(f"a change, {name}: flushes of the card", cost.flushes / each, "", nobody, reason=reason)
    yield row(f"a change, {name}: fdatasync calls", cost.fdatasyncs / each, "", nobody, at_most=1, reason=reason)
