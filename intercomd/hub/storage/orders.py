"""Several statements carried out together: SQLite does them in one visit to its thread, PostgreSQL in one round trip.

Each visit and each trip costs the event loop a change of hands, and while the loop is busy that is a wait of
milliseconds; a call's transition is ten statements."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Delete, Dialect, Insert
from sqlalchemy.ext.asyncio import AsyncConnection

STATEMENTS: Final = 64
MOST_AT_ONCE: Final = 16
"""More rows than this are no longer one statement: each number of them would be planned anew."""

_PLACE: Final = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Order:
    """A statement for each of these rows, which have the same keys; values are what the driver itself takes (numbers,
    text, bytes, None). `alone`: its rows may touch the same row of the table twice, or one that another order touches;
    it is carried out after those before it."""

    statement: Insert | Delete
    rows: Sequence[Mapping[str, Any]]
    alone: bool = False

    def spelled(self, dialect: Dialect) -> tuple[str, list[tuple[Any, ...]]]:
        """For the driver: the text, and the values of each row."""
        text, names, own = _compiled(self.statement, dialect, tuple(self.rows[0]))
        return text, [tuple([row[name] if name in row else own[name] for name in names]) for row in self.rows]


async def carry_out(connection: AsyncConnection, orders: Iterable[Order]) -> None:
    """In a transaction of PostgreSQL."""
    for stage in _stages(orders):
        await _at_once(connection, stage)


async def carry_out_with(
    connection: AsyncConnection, orders: Iterable[Order], with_: str, query: str, values: Sequence[Any]
) -> list[Any]:
    """The same, and in the last round trip a query of one's own: `WITH with_ query`, whose places are $1 and so on."""
    stages = _stages(orders)
    last = stages.pop() if stages and not _is_crowd(stages[-1]) else []
    for stage in stages:
        await _at_once(connection, stage)
    parts, flat = _parts(connection.dialect, last)
    own = _moved(with_, len(flat)), _moved(query, len(flat))
    text = f"WITH {', '.join((*parts, own[0]))} {own[1]}"
    return list((await connection.exec_driver_sql(text, (*flat, *values))).all())


def _stages(orders: Iterable[Order]) -> list[list[Order]]:
    """Those that may be carried out in any order, or at once, come together."""
    stages: list[list[Order]] = []
    is_open = False
    for order in orders:
        if not order.rows:
            continue
        if order.alone or not is_open:
            stages.append([order])
        else:
            stages[-1].append(order)
        is_open = not order.alone
    return stages


def _is_crowd(stage: Sequence[Order]) -> bool:
    return any(order.alone for order in stage) or sum(len(order.rows) for order in stage) > MOST_AT_ONCE


async def _at_once(connection: AsyncConnection, stage: Sequence[Order]) -> None:
    if _is_crowd(stage) or len(stage) == 1:
        for order in stage:
            text, rows = order.spelled(connection.dialect)
            await connection.exec_driver_sql(text, rows)
        return
    parts, flat = _parts(connection.dialect, stage)
    await connection.exec_driver_sql(f"WITH {', '.join(parts)} SELECT 1", tuple(flat))


def _parts(dialect: Dialect, stage: Iterable[Order]) -> tuple[list[str], list[Any]]:
    """Data-modifying statements in WITH (PostgreSQL, 7.8.4): all are carried out, on the same snapshot."""
    parts: list[str] = []
    flat: list[Any] = []
    for order in stage:
        text, rows = order.spelled(dialect)
        for values in rows:
            parts.append(f"part_{len(parts)} AS ({_moved(text, len(flat))})")
            flat.extend(values)
    return parts, flat


@lru_cache(maxsize=1024)
def _moved(text: str, by: int) -> str:
    return _PLACE.sub(lambda found: f"${int(found[1]) + by}", text) if by else text


@lru_cache(maxsize=STATEMENTS)
def _compiled(
    statement: Insert | Delete, dialect: Dialect, names: tuple[str, ...]
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """The statement's text, its parameters in the order in which the driver wants them, and its own values."""
    given = isinstance(statement, Insert) and statement.select is None
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names) if given else None)
    return str(compiled), tuple(compiled.positiontup), dict(compiled.params)
