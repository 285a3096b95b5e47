"""Call records as administrators ask for them: filtered, page by page, each with the figures of its participants.

A page goes on where the last one ended, by the moment and the number of its last record: records that are added
meanwhile shift nothing. Portable SQL only."""

import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.core.outcome import Outcome
from intercomd.core.vocabulary import EndReason, Metrics
from intercomd.hub.history.figures import loss_ratio, metrics_of
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import call_legs, call_parties, call_records
from intercomd.ids import IdentityId

MAX_PAGE = 500
MAX_POINTS = 5000
MAX_DIGITS = 18
"""Of a record's number: more is none, and PostgreSQL's bigint has no room for it."""

_c = call_records.c


@dataclass(frozen=True, slots=True)
class Filter:
    """Everything that is given must hold. `since_s`: from then on; `until_s`: before then. `party`: whom the call
    concerned, also as a member of a group. `station`: one of the two sides. No outcomes, no reasons: all."""

    since_s: float | None = None
    until_s: float | None = None
    party: IdentityId | None = None
    station: IdentityId | None = None
    outcomes: tuple[Outcome, ...] = ()
    reasons: tuple[EndReason, ...] = ()
    min_duration_s: float = 0.0


class LegReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one participant measured. `reported_reason`: why the call ended, in this station's own record of it."""

    identity: str
    role: str
    metrics: Metrics
    reported_reason: str | None = None


class RungReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who was rung from when. `left_reason`: why it stopped there before the call was over or answered there."""

    identity: str
    rung_at: float
    left_reason: str | None = None


class RecordReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One call record. `reported_by`: who reported a call that the hub itself never saw. `rung`: in the order in which
    it rang there. Times are Unix seconds."""

    call_id: str
    caller_id: str
    recipient_id: str
    created_at: float
    ended_at: float
    duration: float
    outcome: str
    reason: str
    reported_by: str | None = None
    callee_id: str | None = None
    conversation_id: str | None = None
    answered_at: float | None = None
    ender_id: str | None = None
    legs: tuple[LegReport, ...] = ()
    rung: tuple[RungReport, ...] = ()


class RecordPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The newest record first. `cursor` asks for the next page; without it this is the last one."""

    records: tuple[RecordReport, ...]
    cursor: str | None = None


class QualityPoint(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How one participant heard one call."""

    at: float
    call_id: str
    identity: str
    role: str
    mos: float | None = None
    loss_ratio: float | None = None
    concealed_ratio: float | None = None
    jitter: float | None = None
    round_trip_time: float | None = None
    mouth_to_ear: float | None = None
    connection_time: float | None = None


class QualitySeries(msgspec.Struct, frozen=True, rename="camel"):
    """The oldest point first."""

    points: tuple[QualityPoint, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: a moment, and what tells things of one moment apart."""

    at_s: float
    key: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.at_s!r} {self.key}".encode()).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str) -> Self:
        """Raises `ValueError`."""
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            at_s, _, key = text.partition(" ")
            return cls(float(at_s), key)
        except (binascii.Error, ValueError) as error:
            raise ValueError("cursor: only what the last page said can be asked for") from error


async def find(database: Database, asked: Filter, limit: int, cursor: str = "") -> RecordPage:
    """The next `limit` records behind `cursor`, "" for the newest. Raises `ValueError` for another cursor, and
    `DatabaseError`."""
    query = sa.select(call_records).where(*_conditions(asked))
    if cursor:
        last = Place.of(cursor)
        same_moment = (_c.created_at == last.at_s) & (_c.id < _number(last.key))
        query = query.where((_c.created_at < last.at_s) | same_moment)
    query = query.order_by(_c.created_at.desc(), _c.id.desc()).limit(limit + 1)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
        call_ids = [row.call_id for row in rows[:limit]]
        legs, rung = await _legs(connection, call_ids), await _rung(connection, call_ids)
    reports = tuple(_report(row, legs.get(row.call_id, ()), rung.get(row.call_id, ())) for row in rows[:limit])
    more = str(Place(rows[limit - 1].created_at, str(rows[limit - 1].id))) if len(rows) > limit else None
    return RecordPage(reports, more)


def _number(key: str) -> int:
    if not key.isdecimal() or len(key) > MAX_DIGITS:
        raise ValueError("cursor: only what the last page said can be asked for")
    return int(key)


async def every(database: Database, asked: Filter) -> AsyncIterator[RecordReport]:
    """All of them, a page and a transaction at a time: calls go on in between."""
    page = await find(database, asked, MAX_PAGE)
    while True:
        for record in page.records:
            yield record
        if page.cursor is None:
            return
        page = await find(database, asked, MAX_PAGE, page.cursor)


async def quality(database: Database, asked: Filter, limit: int = MAX_POINTS) -> QualitySeries:
    """The figures of the newest `limit` legs, for plots. With `station` only what was heard there."""
    joined = sa.join(call_legs, call_records, call_legs.c.call_id == _c.call_id)
    known = sa.or_(*(call_legs.c[name].is_not(None) for name in ("mos", "packets_received", "mouth_to_ear_s")))
    query = sa.select(call_legs, _c.created_at).select_from(joined)
    query = query.where(_c.reported_by == "", known, *_conditions(asked))
    if asked.station is not None:
        query = query.where(call_legs.c.identity == asked.station)
    query = query.order_by(_c.created_at.desc(), _c.id.desc(), call_legs.c.role).limit(limit)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
    return QualitySeries(tuple(_point(row) for row in reversed(rows)))


def _conditions(asked: Filter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if asked.since_s is not None:
        conditions.append(_c.created_at >= asked.since_s)
    if asked.until_s is not None:
        conditions.append(_c.created_at < asked.until_s)
    if asked.party is not None:
        conditions.append(_concerns(asked.party))
    if asked.station is not None:
        conditions.append((_c.caller_id == asked.station) | (_c.callee_id == asked.station))
    if asked.outcomes:
        conditions.append(_c.outcome.in_([outcome.value for outcome in asked.outcomes]))
    if asked.reasons:
        conditions.append(_c.reason.in_([reason.value for reason in asked.reasons]))
    if asked.min_duration_s > 0:
        conditions.append(_c.duration_s >= asked.min_duration_s)
    return conditions


def _concerns(who: IdentityId) -> sa.ColumnElement[bool]:
    """A report of a call that the hub never saw has no parties; a hub's own record has all of them there."""
    rung = sa.exists().where(call_parties.c.identity == who, call_parties.c.call_id == _c.call_id)
    named = sa.or_(_c.caller_id == who, _c.recipient_id == who, _c.callee_id == who)
    return named | ((_c.reported_by == "") & rung)


async def _legs(connection: AsyncConnection, call_ids: Sequence[str]) -> dict[str, tuple[LegReport, ...]]:
    if not call_ids:
        return {}
    query = sa.select(call_legs).where(call_legs.c.call_id.in_(call_ids)).order_by(call_legs.c.role)
    found: dict[str, tuple[LegReport, ...]] = {}
    for row in (await connection.execute(query)).all():
        leg = LegReport(row.identity, row.role, metrics_of(row), row.reported_reason)
        found[row.call_id] = (*found.get(row.call_id, ()), leg)
    return found


async def _rung(connection: AsyncConnection, call_ids: Sequence[str]) -> dict[str, tuple[RungReport, ...]]:
    if not call_ids:
        return {}
    party = call_parties.c
    query = sa.select(call_parties).where(party.call_id.in_(call_ids), party.rung_at.is_not(None))
    found: dict[str, tuple[RungReport, ...]] = {}
    for row in (await connection.execute(query.order_by(party.rung_at, party.identity))).all():
        found[row.call_id] = (*found.get(row.call_id, ()), RungReport(row.identity, row.rung_at, row.left_reason))
    return found


def _report(row: sa.Row[Any], legs: Iterable[LegReport], rung: Iterable[RungReport]) -> RecordReport:
    """Legs, and who was rung, belong to the hub's own record; a report of the same id is another call."""
    return RecordReport(
        call_id=row.call_id,
        caller_id=row.caller_id,
        recipient_id=row.recipient_id,
        created_at=row.created_at,
        ended_at=row.ended_at,
        duration=row.duration_s,
        outcome=row.outcome,
        reason=row.reason,
        reported_by=row.reported_by or None,
        callee_id=row.callee_id,
        conversation_id=row.conversation_id,
        answered_at=row.answered_at,
        ender_id=row.ender_id,
        legs=() if row.reported_by else tuple(legs),
        rung=() if row.reported_by else tuple(rung),
    )


def _point(row: sa.Row[Any]) -> QualityPoint:
    return QualityPoint(
        at=row.created_at,
        call_id=row.call_id,
        identity=row.identity,
        role=row.role,
        mos=row.mos,
        loss_ratio=loss_ratio(row.packets_lost, row.packets_received),
        concealed_ratio=row.concealed_ratio,
        jitter=row.jitter_s,
        round_trip_time=row.round_trip_s,
        mouth_to_ear=row.mouth_to_ear_s,
        connection_time=row.connection_time_s,
    )
