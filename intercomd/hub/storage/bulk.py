"""Many rows by one statement, at the driver's own speed: SQLAlchemy spends as long on naming a row's parameters as
SQLite does on writing it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Dialect, Insert, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

STATEMENTS = 32
LENGTHS = (1, 8, 64, 256)


async def insert(connection: AsyncConnection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """`rows` have the same keys; values are what the driver itself takes (numbers, text, bytes, None). The statement
    may have no parameters but theirs."""
    if rows:
        text, order = _compiled(statement, connection.dialect, tuple(rows[0]))
        await connection.exec_driver_sql(text, [tuple([row[name] for name in order]) for row in rows])


async def among(connection: AsyncConnection, wanted: Column[Any], key: Column[Any], keys: Iterable[str]) -> list[Any]:
    """The column `wanted` of each row whose `key` is one of these."""
    values = list(keys)
    if not values:
        return []
    text, filled = among_text(wanted, key, values, connection.dialect)
    return list((await connection.exec_driver_sql(text, filled)).scalars())


def among_text(
    wanted: Column[Any], key: Column[Any], keys: Sequence[str], dialect: Dialect
) -> tuple[str, tuple[str, ...]]:
    """The query and its values; there is at least one key. Lists have one of a few lengths, filled up by repeating:
    else the statement would be made anew for each."""
    length = next((length for length in LENGTHS if length >= len(keys)), len(keys))
    return _chosen(wanted, key, dialect, length), (*keys, *[keys[0]] * (length - len(keys)))


@lru_cache(maxsize=STATEMENTS)
def _chosen(wanted: Column[Any], key: Column[Any], dialect: Dialect, length: int) -> str:
    names = [bindparam(f"key_{number}", type_=key.type) for number in range(length)]
    return str(select(wanted).where(key.in_(names)).compile(dialect=dialect))


@lru_cache(maxsize=STATEMENTS)
def _compiled(statement: Insert, dialect: Dialect, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The statement's text, and its parameters in the order in which the driver wants them."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))
    return str(compiled), tuple(compiled.positiontup)
