"""The books after a run: what people did and saw, against what the hub has written down. Pure.

A call that anybody saw acknowledged has exactly one record, the hub's own, and its outcome is one that what happened
allows. What a station wrote down about its part has reached the hub. Nothing is written twice.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

OWN = frozenset({"completed", "cancelled", "rejected", "timeout", "busy", "user_offline", "answered_elsewhere"})
"""Reasons that people and the absence of people explain. A station that is killed is back long before any grace ends,
so no call may end by peer_lost, caller_gone, media_failed, network or failed."""
SLACK_S = 0.5


@dataclass(slots=True)
class Story:
    """What is known of a call besides the hub's record."""

    call_id: str
    scene: str
    caller: str = ""
    acknowledged: bool = False
    """Somebody saw it ring, or go on."""
    connected: set[str] = field(default_factory=set)
    """Stations that showed it connected."""
    answerable: bool = False
    """Somebody was told to answer it, or both sides dialled each other."""
    hung_up: set[str] = field(default_factory=set)
    """Stations at which somebody hung up."""
    ends: set[str] = field(default_factory=set)
    """Stations that said that they have written a record of it."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the hub's `call_records`. `reported_by` is empty for the hub's own."""

    call_id: str
    reported_by: str
    outcome: str
    reason: str
    created_at: float
    answered_at: float | None
    ended_at: float


@dataclass(frozen=True, slots=True)
class Books:
    """What is left when everybody has stopped."""

    records: Sequence[Record]
    legs: frozenset[tuple[str, str]]
    """(call id, station) of what stations uploaded about calls that the hub knows."""
    open_calls: Sequence[str] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Records that stations still hold."""
    kept_calls: Mapping[str, str] = field(default_factory=dict)
    """Calls that stations still keep on flash."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is one of: stuck, lost, doubled, outcome, dropped."""

    kind: str
    text: str
    call_id: str = ""


def audit(stories: Mapping[str, Story], books: Books, ring_s: float) -> list[Finding]:
    """Everything that is wrong. `ring_s`: how long the hub lets it ring."""
    rows: dict[str, list[Record]] = {}
    for record in books.records:
        rows.setdefault(record.call_id, []).append(record)
    found = [*_left_over(books), *_doubled(rows)]
    for story in stories.values():
        found += [*_lost(story, rows.get(story.call_id, []), books.legs)]
        own = next((row for row in rows.get(story.call_id, []) if not row.reported_by), None)
        if own is not None:
            found += [Finding("outcome", f"{own.outcome} ({own.reason}): {why}", story.call_id)
                      for why in _contradictions(story, own, ring_s)]  # fmt: skip
    return found


def _left_over(books: Books) -> Iterator[Finding]:
    for call_id in books.open_calls:
        yield Finding("stuck", "the hub still has it open", call_id)
    for station, call_id in books.kept_calls.items():
        yield Finding("stuck", f"{station} still keeps it on flash", call_id)
    for station, count in books.waiting.items():
        if count:
            yield Finding("lost", f"{station} still holds {count} records that the hub never got")


def _doubled(rows: Mapping[str, Sequence[Record]]) -> Iterator[Finding]:
    for call_id, records in rows.items():
        if len(records) > 1:
            writers = Counter(record.reported_by or "the hub" for record in records)
            told = ", ".join(f"{count} by {writer}" for writer, count in sorted(writers.items()))
            yield Finding("doubled", f"{len(records)} records: {told}", call_id)


def _lost(story: Story, records: Sequence[Record], legs: frozenset[tuple[str, str]]) -> Iterator[Finding]:
    if story.acknowledged and not any(not record.reported_by for record in records):
        yield Finding("lost", "the hub took this call and has no record of it", story.call_id)
    for station in sorted(story.ends):
        is_report = any(record.reported_by == station for record in records)
        if (story.call_id, station) not in legs and not is_report:
            yield Finding("lost", f"{station} wrote a record, and the hub never got it", story.call_id)


def _contradictions(story: Story, record: Record, ring_s: float) -> Iterator[str]:
    answered = record.answered_at is not None
    if story.connected and not answered:
        yield f"{' and '.join(sorted(story.connected))} showed it connected"
    if answered and not story.answerable:
        yield "nobody was asked to answer it"
    if record.reason not in OWN:
        yield "no person and no limit explains this reason"
    if record.outcome != _outcome(record):
        yield f"with this reason and answered_at {record.answered_at} it is {_outcome(record)}"
    if record.reason == "cancelled" and story.caller and story.caller not in story.hung_up:
        yield "the caller never hung up"
    if record.reason == "rejected" and not story.hung_up - {story.caller}:
        yield "nobody declined it"
    if record.reason == "completed" and not story.hung_up:
        yield "nobody hung up"
    if record.reason == "timeout" and record.ended_at - record.created_at < ring_s - SLACK_S:
        yield f"it rang for {record.ended_at - record.created_at:.1f} s of {ring_s:g} s"
    if not record.created_at <= (record.answered_at or record.created_at) <= record.ended_at:
        yield f"its times are {record.created_at}, {record.answered_at}, {record.ended_at}"


def _outcome(record: Record) -> str:
    if record.answered_at is not None:
        return "completed"
    return "rejected" if record.reason == "rejected" else "missed"
