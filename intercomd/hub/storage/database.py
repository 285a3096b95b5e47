"""The hub's database: one SQLite file for one process, or a PostgreSQL that several processes share. Which of them is
only a matter of the URL.

Both compile the statements of `sqlalchemy.dialects.postgresql.insert` (SQLite took ON CONFLICT from PostgreSQL; it does
not work the other way round), and the suite runs on both."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.hub.storage import bulk
from intercomd.hub.storage.backend import TRANSACTION_LIMIT_S, Backend, Conflict, DatabaseError
from intercomd.hub.storage.orders import Order
from intercomd.hub.storage.postgres import Postgres
from intercomd.hub.storage.sqlite import Sqlite, claimed
from intercomd.hub.storage.tables import (
    SCHEMA,
    administrator_tokens,
    administrators,
    call_legs,
    call_parties,
    call_records,
    calls,
    identities,
    members,
    metadata,
    open_legs,
    pairings,
    rights,
    tokens,
)

__all__ = [
    "SCHEMA",
    "Conflict",
    "Database",
    "DatabaseError",
    "administrator_tokens",
    "administrators",
    "call_legs",
    "call_parties",
    "call_records",
    "calls",
    "claimed",
    "identities",
    "is_shared",
    "members",
    "metadata",
    "open_legs",
    "pairings",
    "path_of",
    "rights",
    "tokens",
]

Heard = Callable[[str, str], None]
"""A channel and what was said on it."""


def is_shared(url: str) -> bool:
    """Whether several processes may use this database at once. Raises `DatabaseError` for a URL that names none of the
    two kinds."""
    return _parsed(url).get_backend_name() == "postgresql"


def path_of(url: str) -> Path:
    """The file behind a `sqlite+aiosqlite:///` URL. Raises `DatabaseError` for any other."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise DatabaseError(f"hub.database_url {parsed.render_as_string()}: only SQLite has a file")
    return Path(parsed.database)


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError) as error:
        # The URL itself may hold a password.
        raise DatabaseError("hub.database_url is no URL; see `[hub] database_url` in the README") from error
    if parsed.drivername not in ("sqlite+aiosqlite", "postgresql+asyncpg"):
        raise DatabaseError(
            f"hub.database_url {parsed.render_as_string()}: it must begin with sqlite+aiosqlite:/// or "
            "postgresql+asyncpg://"
        )
    return parsed


class Database:
    """`async with database.transaction() as connection`. `password`: instead of one in the URL."""

    def __init__(self, url: str, password: str = "") -> None:
        self.is_shared = is_shared(url)
        self.watch: Callable[[float, bool], None] = lambda _took_s, _failed: None
        """Hears of each transaction how long it took, the wait for the connection included, and whether it failed."""
        self._postgres: Postgres | None = None
        self._sqlite: Sqlite | None = None
        if self.is_shared:
            parsed = _parsed(url)
            self._postgres = Postgres(parsed.set(password=password) if password else parsed)
        else:
            self._sqlite = Sqlite(_parsed(url), path_of(url))

    @property
    def _backend(self) -> Backend:
        backend = self._postgres or self._sqlite
        assert backend is not None, "one of the two"
        return backend

    @property
    def name(self) -> str:
        """For people: a path, or a URL without its password."""
        return self._backend.name

    @property
    def path(self) -> Path:
        """Of SQLite's file. Raises `DatabaseError` where there is none."""
        if self._sqlite is None:
            raise DatabaseError(f"{self.name} is no file")
        return self._sqlite.path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes away from a file; PostgreSQL serves several. Raises `DatabaseError`."""
        if self._sqlite is None:
            yield
            return
        with claimed(self._sqlite.path):
            yield

    async def open(self) -> None:
        """Make the tables, or bring them to this version's schema. Raises `DatabaseError`."""
        await self._backend.open()

    async def close(self) -> None:
        """Idempotent."""
        await self._backend.close()

    async def aclose(self) -> None:
        """For `contextlib.aclosing`."""
        await self.close()

    @asynccontextmanager
    async def transaction(self, limit_s: float = TRANSACTION_LIMIT_S) -> AsyncIterator[AsyncConnection]:
        """Committed on leaving, rolled back on an exception. Raises `DatabaseError` (`Conflict` where to try again is
        right); what the block itself raises passes through. SQLite's `TimeoutError` means that the disk hangs: the
        process should end."""
        with self._watched():
            async with self._backend.transaction(limit_s) as connection:
                yield connection

    async def carry_out(self, orders: Sequence[Order]) -> None:
        """A transaction of these, in few journeys. Raises as `transaction` does."""
        with self._watched():
            await self._backend.carry_out(orders)

    async def among(self, wanted: sa.Column[Any], key: sa.Column[Any], keys: Iterable[str]) -> list[Any]:
        """The column `wanted` of each row whose `key` is one of these, in one journey. Raises `DatabaseError`."""
        values = list(keys)
        if not values:
            return []
        text, filled = bulk.among_text(wanted, key, values, self._backend.dialect)
        return [row[0] for row in await self._backend.read(text, filled)]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        began_s = time.monotonic()
        try:
            yield
        except Conflict:
            raise
        except (DatabaseError, TimeoutError):
            self.watch(time.monotonic() - began_s, True)
            raise
        self.watch(time.monotonic() - began_s, False)

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """For one statement, which needs no transaction around it. Raises `DatabaseError`."""
        return self._backend.statement()

    async def probe(self) -> None:
        """Write something that changes nothing. Raises `DatabaseError`."""
        await self._backend.probe()

    async def announce(self, channel: str, words: str = "") -> None:
        """Tell every process that listens; nothing where there is only this one. Raises `DatabaseError`."""
        if self._postgres is not None:
            await self._postgres.announce(channel, words)

    @asynccontextmanager
    async def listening(self, channels: Sequence[str], heard: Heard) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Hear what is announced, as long as what is yielded (a look whether the connection lives) does not raise
        `DatabaseError`. PostgreSQL only."""
        if self._postgres is None:
            raise DatabaseError(f"{self.name} announces nothing")
        async with self._postgres.listening(channels, heard) as look:
            yield look
