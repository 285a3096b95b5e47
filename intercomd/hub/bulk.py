"""Many rows by one statement, at the driver's own speed: SQLAlchemy spends as long on naming a row's parameters as
SQLite does on writing it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Insert
from sqlalchemy.ext.asyncio import AsyncConnection

STATEMENTS = 32


async def insert(connection: AsyncConnection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """`rows` have the same keys; values are what the driver itself takes (numbers, text, bytes, None). The statement
    may have no parameters but theirs."""
    if rows:
        text, order = _compiled(statement, connection.dialect, tuple(rows[0]))
        await connection.exec_driver_sql(text, [tuple([row[name] for name in order]) for row in rows])


@lru_cache(maxsize=STATEMENTS)
def _compiled(statement: Insert, dialect: Dialect, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The statement's text, and its parameters in the order in which the driver wants them."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))
    return str(compiled), tuple(compiled.positiontup)
