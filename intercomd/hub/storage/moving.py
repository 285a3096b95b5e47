"""From the file of one hub process to a PostgreSQL that several share: everything that a hub knows, once."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.core.vocabulary import HubPhase
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.storage.tables import (
    call_members,
    calls,
    devices,
    leases,
    metadata,
    open_legs,
    outbox,
    processes,
    queued_calls,
)

BATCH_ROWS: Final = 1_000
LIMIT_S: Final = 3600.0
OF_THE_MOMENT: Final = frozenset({processes, devices, outbox, leases, call_members, queued_calls, open_legs})
"""What is true only while hubs run. Open calls stay behind for the same reason: their stations hear from the new hub
that it does not know them, hang up, and report their own records."""

Told = Callable[[str, int], None]
"""A table's name, and how many of its rows are there by now."""


async def move(source: Database, target: Database, told: Told = lambda _table, _rows: None) -> Mapping[str, int]:
    """Copy all rows of `source`, which no hub may have open, to `target`, which must have none: in one transaction
    there, so that it happens as a whole or not at all. Returns the number of rows by table. Raises
    `DatabaseError`."""
    counts: dict[str, int] = {}
    async with source.transaction(LIMIT_S) as reading, target.transaction(LIMIT_S) as writing:
        await _must_be_empty(target, writing)
        for table in metadata.sorted_tables:
            if table in OF_THE_MOMENT:
                continue
            counts[table.name] = 0
            async for rows in _batches(reading, table):
                await writing.execute(table.insert(), rows)
                counts[table.name] += len(rows)
                told(table.name, counts[table.name])
            await _count_on(writing, table)
    return counts


async def _must_be_empty(target: Database, connection: AsyncConnection) -> None:
    for table in metadata.sorted_tables:
        if await connection.scalar(sa.select(sa.literal(1)).select_from(table).limit(1)):
            raise DatabaseError(
                f"{target.name} is in use: its table {table.name} has rows; move into a new database, which no hub "
                "has served from yet"
            )


async def _batches(connection: AsyncConnection, table: sa.Table) -> AsyncIterator[Sequence[dict[str, Any]]]:
    """In the order of the primary key. A call that is not over is left out."""
    wanted = sa.select(table).order_by(*table.primary_key.columns)
    if table is calls:
        wanted = wanted.where(calls.c.phase == HubPhase.ENDED.value)
    async with connection.stream(wanted.execution_options(yield_per=BATCH_ROWS)) as result:
        async for rows in result.mappings().partitions():
            yield [dict(row) for row in rows]


async def _count_on(connection: AsyncConnection, table: sa.Table) -> None:
    """PostgreSQL's sequences do not hear of keys that were given: the next row would take one that is there."""
    key = table.autoincrement_column
    if key is None or connection.dialect.name != "postgresql":
        return
    sequence = sa.func.pg_get_serial_sequence(table.name, key.name)
    highest = sa.select(sa.func.max(key)).scalar_subquery()
    await connection.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(highest, 1), highest.is_not(None))))
