"""What a database must be able to do, and how it fails: `hub/storage/sqlite.py` and `hub/storage/postgres.py` do it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.hub.storage.orders import Order

TRANSACTION_LIMIT_S = 10.0
"""A transaction that takes longer means a disk or a network that hangs."""


class DatabaseError(Exception):
    """The database cannot be opened, read or written; the text says why and what to do."""


class Conflict(DatabaseError):
    """Somebody else was first (a key that is taken, a deadlock): nothing was written, and to try again is right."""


class Backend(Protocol):
    """Transactions are committed on leaving, rolled back on an exception; what the block itself raises passes
    through."""

    name: str
    """For people: a path, or a URL without its password."""

    async def open(self) -> None:
        """Make or check the tables. Raises `DatabaseError`."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...

    def transaction(self, limit_s: float = TRANSACTION_LIMIT_S) -> AbstractAsyncContextManager[AsyncConnection]:
        """Raises `DatabaseError`."""
        ...

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """For one statement: where that saves round trips, without a transaction around it. Raises
        `DatabaseError`."""
        ...

    async def carry_out(self, orders: Sequence[Order]) -> None:
        """In a transaction of their own, with as few journeys as there can be. Raises `DatabaseError`."""
        ...

    async def read(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """The rows of one query, as the driver spells it, in one journey. Raises `DatabaseError`."""
        ...

    @property
    def dialect(self) -> Dialect:
        """How the driver spells statements. Raises `DatabaseError` while it is closed."""
        ...

    async def probe(self) -> None:
        """Write something that changes nothing. Raises `DatabaseError`."""
        ...


def reason(error: BaseException) -> str:
    """The driver's own words in one line, without SQL and its parameters (which may hold what does not belong in a
    log)."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    lines = str(origin).splitlines() if origin is not None else []
    words = lines[0] if lines else type(error).__name__
    # SQLAlchemy puts the class of asyncpg's error before its words.
    return words.partition(">: ")[2] or words if words.startswith("<class ") else words
