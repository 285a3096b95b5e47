"""What is kept for how long: final states of calls for 90 days, for clients that ask late; records, their figures and
door openings for as long as `[hub] retention_days` says.

Deleted a step at a time, each a transaction of its own, so that calls go on meanwhile. Age is counted from the newest
call, or from now where that is earlier: a clock that is years ahead deletes nothing by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.core.vocabulary import HubPhase
from intercomd.errors import ErrorCode
from intercomd.hub.history import records
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.storage.tables import call_legs, call_parties, call_records, calls, door_openings
from intercomd.ports import Journal

DAY_S: Final = 86_400.0
STEP_ROWS: Final = 500
FIRST_S: Final = 600.0
"""After the start: first everybody comes back."""
EVERY_S: Final = DAY_S
PAUSE_S: Final = 0.05

Step = Callable[[AsyncConnection, float, int], Awaitable[int]]
"""Delete at most so many things that are older than that; how many there were."""


class Retention:
    """`run` sweeps once a day, for ever. `days`: 0 keeps records for ever."""

    def __init__(self, database: Database, days: int, now_s: Callable[[], float], journal: Journal) -> None:
        self._database = database
        self._days = days
        self._now_s = now_s
        self._journal = journal

    async def run(self) -> None:
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.sweep()
            except DatabaseError as error:
                self._journal.report(ErrorCode.STORE_FAILING, "Old records could not be deleted.", REASON=str(error))
            await asyncio.sleep(EVERY_S)

    async def sweep(self, pause_s: float = PAUSE_S) -> int:
        """Delete all that is too old; how many things that were. Raises `DatabaseError`."""
        newest_s = min(self._now_s(), await records.newest_s(self._database))
        deleted = await self._until_done(_calls, newest_s - records.KEEP_CALLS_S, pause_s)
        if self._days:
            before_s = newest_s - self._days * DAY_S
            for step in (_records, _parties, _openings):
                deleted += await self._until_done(step, before_s, pause_s)
        return deleted

    async def _until_done(self, step: Step, before_s: float, pause_s: float) -> int:
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                count = await step(connection, before_s, STEP_ROWS)
            deleted += count
            if count < STEP_ROWS:
                return deleted
            await asyncio.sleep(pause_s)


async def _calls(connection: AsyncConnection, before_s: float, limit: int) -> int:
    """Final states only: an open call is never too old."""
    old = (calls.c.phase == HubPhase.ENDED.value) & (calls.c.created_at < before_s)
    ids = await _oldest(connection, calls.c.call_id, old, calls.c.created_at, limit)
    await _delete(connection, calls, calls.c.call_id, ids)
    return len(ids)


async def _records(connection: AsyncConnection, before_s: float, limit: int) -> int:
    """With the figures of the calls of which no other record is left."""
    table = call_records
    query = sa.select(table.c.id, table.c.call_id).where(table.c.created_at < before_s)
    rows = (await connection.execute(query.order_by(table.c.created_at).limit(limit))).all()
    await _delete(connection, table, table.c.id, [row.id for row in rows])
    call_ids = {row.call_id for row in rows}
    if call_ids:
        query = sa.select(table.c.call_id).where(table.c.call_id.in_(call_ids))
        still = set((await connection.execute(query)).scalars())
        await _delete(connection, call_legs, call_legs.c.call_id, list(call_ids - still))
    return len(rows)


async def _parties(connection: AsyncConnection, before_s: float, limit: int) -> int:
    """They have the moment of their call."""
    table = call_parties
    query = sa.select(table.c.identity, table.c.call_id).where(table.c.created_at < before_s).limit(limit)
    rows = (await connection.execute(query)).all()
    if rows:
        one = (table.c.identity == sa.bindparam("who")) & (table.c.call_id == sa.bindparam("call"))
        keys = [{"who": row.identity, "call": row.call_id} for row in rows]
        await connection.execute(sa.delete(table).where(one), keys)
    return len(rows)


async def _openings(connection: AsyncConnection, before_s: float, limit: int) -> int:
    key, at = door_openings.c.command_id, door_openings.c.at
    ids = await _oldest(connection, key, at < before_s, at, limit)
    await _delete(connection, door_openings, key, ids)
    return len(ids)


async def _oldest(
    connection: AsyncConnection, key: sa.Column[object], old: sa.ColumnElement[bool], at: sa.Column[float], limit: int
) -> list[object]:
    return list((await connection.execute(sa.select(key).where(old).order_by(at).limit(limit))).scalars())


async def _delete(connection: AsyncConnection, table: sa.Table, key: sa.Column[object], ids: list[object]) -> None:
    if ids:
        await connection.execute(sa.delete(table).where(key.in_(ids)))
