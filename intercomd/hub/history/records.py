"""What the hub writes down: the state of every call, and one record for each that is over.

A call's state, its open legs and, at its end, its record change in one transaction. The record is unique by
call id and is written by the hub alone; what stations upload adds to their own legs. Statements take lists
(executemany): several VALUES in one statement are ten times slower."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.core.legs import Endpoint, HubCall, is_participant
from intercomd.core.outcome import outcome
from intercomd.core.vocabulary import CallRecord, EndReason, HubPhase, Metrics
from intercomd.hub.history.figures import leg_row
from intercomd.hub.storage import bulk
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.orders import Order
from intercomd.hub.storage.tables import call_legs, call_parties, call_records, calls, open_legs
from intercomd.ids import CallId, IdentityId

KEEP_CALLS_S = 90 * 86_400.0
"""Final states are kept this long for clients that ask late; records for ever."""

Change = tuple[HubCall | None, HubCall]
"""What the database knows of a call (None: nothing), and its new state."""

_decode = msgspec.json.Decoder(HubCall).decode


@dataclass(frozen=True, slots=True)
class Figures:
    """A participant's latest figures of a call."""

    call_id: CallId
    by: Endpoint
    role: str
    metrics: Metrics


async def load_open(database: Database) -> tuple[HubCall, ...]:
    """Every call that was open when the last hub stopped."""
    query = sa.select(calls.c.state).where(calls.c.phase != HubPhase.ENDED.value)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
    return tuple(_decode(row.state) for row in rows)


async def load(database: Database, call_ids: Iterable[CallId]) -> dict[CallId, HubCall]:
    """The calls by these ids, as far as the hub knows them."""
    states = await database.among(calls.c.state, calls.c.call_id, call_ids)
    return {call.call_id: call for call in map(_decode, states)}


async def newest_s(database: Database) -> float:
    """When the newest call began; 0 where there is none."""
    async with database.transaction() as connection:
        return float((await connection.execute(sa.select(sa.func.max(calls.c.created_at)))).scalar() or 0.0)


async def forget_old(database: Database) -> None:
    """Delete final states that are older by their time than the newest call: a clock that is years ahead deletes
    nothing."""
    newest = await newest_s(database)
    old = (calls.c.phase == HubPhase.ENDED.value) & (calls.c.created_at < newest - KEEP_CALLS_S)
    async with database.transaction() as connection:
        await connection.execute(sa.delete(calls).where(old))


async def write(database: Database, changes: Sequence[Change], figures: Sequence[Figures] = ()) -> None:
    """Commit the new state of each of these calls (each call once), the records of those that have ended, and figures
    of ended calls. Raises `DatabaseError`; then nothing of it is written."""
    await database.carry_out(orders(changes, figures))


def orders(
    changes: Sequence[Change], figures: Sequence[Figures] = (), *, begin: Insert | None = None
) -> list[Order]:  # fmt: skip
    """What writes that. `begin`: instead of the usual statement for calls that are new to the database."""
    ended = [call for _, call in changes if call.phase is HubPhase.ENDED]
    parties = [{"its_call_id": call.call_id, "its_party": who} for call in ended for who in _participants(call)]
    return [
        *_state_orders(changes, _UPSERT_CALL if begin is None else begin),
        Order(_INSERT_RECORD, [_record_row(call) for call in ended]),
        Order(_INSERT_PARTY, [row for call in ended for row in _party_rows(call)]),
        # A station may report a call while its `initiate_call` still waits for the disk (dialled, and hung up at once):
        # then the hub's own record takes the place of the report, which becomes what the station says of its leg.
        Order(_TAKE_REPORT, parties),
        Order(_DROP_REPORT, parties),
        Order(
            _UPSERT_FIGURES,
            [leg_row(item.call_id, item.by.identity, item.role, item.metrics) for item in figures],
            alone=True,
        ),
    ]


async def upload(database: Database, uploader: IdentityId, records: Sequence[CallRecord]) -> None:
    """A station's own records: they add to legs in which it took part and change nothing else. Repeating an
    upload changes nothing. A call that the hub never saw, or that is none of the uploader's, is kept as its
    own report."""
    legs: list[dict[str, Any]] = []
    reports: list[dict[str, Any]] = []
    async with database.transaction() as connection:
        known = await _load(connection, {CallId(record.call_id) for record in records})
        for record in records:
            call = known.get(CallId(record.call_id))
            if call is not None and is_participant(call, uploader):
                legs.append(leg_row(record.call_id, uploader, record.role, record.metrics, record.end_reason))
            else:
                reports.append(_report_row(uploader, record))
        await bulk.insert(connection, _UPSERT_FIGURES, legs)
        await bulk.insert(connection, _INSERT_RECORD, reports)


async def of_resident(database: Database, who: IdentityId, before: float, limit: int) -> Sequence[sa.Row[Any]]:
    """The hub's own records of calls that concern `who`, begun before that moment, the newest first."""
    concerned = sa.select(call_records).join(call_parties, call_records.c.call_id == call_parties.c.call_id)
    mine = (call_parties.c.identity == who) & (call_parties.c.created_at < before)
    newest = call_parties.c.created_at.desc()
    query = concerned.where(mine & (call_records.c.reported_by == "")).order_by(newest).limit(limit)
    async with database.transaction() as connection:
        return (await connection.execute(query)).all()


async def _load(connection: AsyncConnection, call_ids: Iterable[CallId]) -> dict[CallId, HubCall]:
    states = await bulk.among(connection, calls.c.state, calls.c.call_id, call_ids)
    return {call.call_id: call for call in map(_decode, states)}


def _participants(call: HubCall) -> set[IdentityId]:
    return {call.caller.party.identity, *(leg.party.identity for leg in call.callees)}


def _state_orders(changes: Sequence[Change], begin: Insert) -> list[Order]:
    freed = [row for before, call in changes if before is not None for row in _leg_keys(before, call)]
    # In one order everywhere: two processes that take the same legs must not wait for each other.
    taken = [row for before, call in changes for row in _leg_keys(call, before)]
    taken.sort(key=lambda row: (row["identity"], row["instance"]))
    return [
        Order(begin, [_state_row(call) for before, call in changes if before is None]),
        Order(_UPSERT_CALL, [_state_row(call) for before, call in changes if before is not None]),
        # First all that is freed: a device may have left one call for the next in one batch.
        Order(_FREE_LEG, [{f"its_{name}": value for name, value in row.items()} for row in freed]),
        Order(_TAKE_LEG, taken, alone=bool(freed)),
    ]


def _state_row(call: HubCall) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "phase": call.phase.value,
        "state": msgspec.json.encode(call),
        "created_at": call.created_at,
    }


def _leg_keys(call: HubCall, other: HubCall | None) -> list[dict[str, str]]:
    """The open legs of `call` that `other` has not."""
    common = {leg.endpoint for leg in other.open_legs} if other is not None else set()
    return [
        {"identity": leg.party.identity, "instance": leg.party.instance, "call_id": call.call_id}
        for leg in call.open_legs
        if leg.endpoint not in common
    ]


# Built once: building a statement takes as long as carrying it out.


def _upsert_call() -> Insert:
    upsert = insert(calls)
    return upsert.on_conflict_do_update(
        index_elements=[calls.c.call_id],
        set_={"phase": upsert.excluded.phase, "state": upsert.excluded.state},
        where=calls.c.phase != HubPhase.ENDED.value,
    )


def _upsert_figures() -> Insert:
    """What is given replaces what was there; what is not given leaves it alone."""
    upsert = insert(call_legs)
    updated = {
        column.name: sa.func.coalesce(upsert.excluded[column.name], column)
        for column in call_legs.c
        if not column.primary_key and column.name != "role"
    }
    return upsert.on_conflict_do_update(index_elements=[call_legs.c.call_id, call_legs.c.identity], set_=updated)


_UPSERT_CALL = _upsert_call()
_UPSERT_FIGURES = _upsert_figures()
_INSERT_RECORD = insert(call_records).on_conflict_do_nothing()
_INSERT_PARTY = insert(call_parties).on_conflict_do_nothing()
_TAKE_LEG = insert(open_legs)
BEGIN_CALL = insert(calls)
"""Of one that nobody else may have begun meanwhile."""
_FREE_LEG = sa.delete(open_legs).where(
    (open_legs.c.identity == sa.bindparam("its_identity"))
    & (open_legs.c.instance == sa.bindparam("its_instance"))
    & (open_legs.c.call_id == sa.bindparam("its_call_id"))
)


def _take_report() -> Insert:
    told = sa.select(
        call_records.c.call_id,
        call_records.c.reported_by,
        sa.case((call_records.c.reported_by == call_records.c.caller_id, "caller"), else_="callee"),
        call_records.c.reason,
    ).where(_ITS_REPORT)
    upsert = insert(call_legs).from_select(["call_id", "identity", "role", "reported_reason"], told)
    return upsert.on_conflict_do_update(
        index_elements=[call_legs.c.call_id, call_legs.c.identity],
        set_={"reported_reason": upsert.excluded.reported_reason},
    )


_ITS_REPORT = (call_records.c.call_id == sa.bindparam("its_call_id")) & (
    call_records.c.reported_by == sa.bindparam("its_party")
)
_TAKE_REPORT = _take_report()
_DROP_REPORT = sa.delete(call_records).where(_ITS_REPORT)


def _record_row(call: HubCall) -> dict[str, Any]:
    callee = call.callee
    reason = call.end_reason or EndReason.FAILED
    return {
        "call_id": call.call_id,
        "reported_by": "",
        "caller_id": call.caller.party.identity,
        "recipient_id": call.recipient_id,
        "callee_id": callee.party.identity if callee else None,
        "conversation_id": call.conversation_id,
        "created_at": call.created_at,
        "answered_at": call.answered_at,
        "ended_at": call.ended_at,
        "duration_s": call.duration_s,
        "outcome": outcome(reason, call.answered_at).value,
        "reason": reason.value,
        "ender_id": call.ender_id,
    }


def _party_rows(call: HubCall) -> list[dict[str, Any]]:
    """Whom it was for, and who of them was rung: in a sequence one after another, whoever they escalate to last."""
    concerned = dict.fromkeys((call.caller.party.identity, *call.members))
    rung = {leg.party.identity: leg for leg in reversed(call.callees)}
    return [
        {
            "identity": who,
            "call_id": call.call_id,
            "created_at": call.created_at,
            "rung_at": rung[who].rung_at if who in rung else None,
            "left_reason": _value(rung[who].left_reason) if who in rung else None,
        }
        for who in concerned
    ]


def _value(reason: EndReason | None) -> str | None:
    return None if reason is None else reason.value


def _report_row(uploader: IdentityId, record: CallRecord) -> dict[str, Any]:
    by_caller = record.role == "caller"
    answered = record.answered_at
    return {
        "call_id": record.call_id,
        "reported_by": uploader,
        "caller_id": uploader if by_caller else record.peer_id,
        "recipient_id": record.peer_id if by_caller else uploader,
        "callee_id": None if answered is None else record.peer_id if by_caller else uploader,
        "conversation_id": None,
        "created_at": record.started_at,
        "answered_at": answered,
        "ended_at": record.ended_at,
        "duration_s": 0.0 if answered is None else max(0.0, record.ended_at - answered),
        "outcome": outcome(record.end_reason, answered).value,
        "reason": record.end_reason.value,
        "ender_id": None,
    }
