"""SQLite: the one connection through which everything is read and written.

Exactly one: SQLite up to 3.51.2 can lose a WAL reset when two connections checkpoint at once. A transaction
holds the connection's lock; a lock file beside the database keeps a second process away."""

import asyncio
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from intercomd.hub.storage import migrations
from intercomd.hub.storage.backend import TRANSACTION_LIMIT_S, DatabaseError, reason
from intercomd.hub.storage.orders import Order
from intercomd.hub.storage.tables import SCHEMA

BUSY_TIMEOUT_MS = 5000


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold the lock file beside the database, for one process at a time. Raises `DatabaseError` when it is
    held."""
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseError(f"{lock}: {error.strerror}; the hub's user must own {path.parent}") from error
    try:
        _lock(descriptor, path)
        _inherit_owner(path.parent, lock)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DatabaseError(f"{path} is in use by another hub or admin command; end it first") from error


def _inherit_owner(directory: Path, *files: Path) -> None:
    """What root creates for the hub must belong to the hub's user."""
    if os.geteuid() == 0:
        owner = directory.stat()
        for file in files:
            os.chown(file, owner.st_uid, owner.st_gid)


class Sqlite:
    """One connection for the life of the process. A transaction's `TimeoutError` means that the disk hangs: the process
    should end."""

    def __init__(self, url: sa.URL, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._url = url
        self._lock = asyncio.Lock()
        self._engine: AsyncEngine | None = None
        self._connection: AsyncConnection | None = None

    async def open(self) -> None:
        """Create or check the file. Raises `DatabaseError`."""
        self._engine = create_async_engine(self._url, poolclass=StaticPool)
        is_new = not self.path.exists()
        try:
            async with asyncio.timeout(TRANSACTION_LIMIT_S):
                self._connection = await self._engine.connect()
                await self._configure(self._connection)
                await self._migrate(self._connection)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            await self.close()
            raise DatabaseError(f"{self.path}: {reason(error)}; restore it from a backup, or free space") from error
        except DatabaseError:
            await self.close()
            raise
        if is_new:
            self.path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            _inherit_owner(self.path.parent, *self.path.parent.glob(self.path.name + "*"))

    async def close(self) -> None:
        """Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    @asynccontextmanager
    async def transaction(self, limit_s: float = TRANSACTION_LIMIT_S) -> AsyncIterator[AsyncConnection]:
        async with self._lock:
            if self._connection is None:
                raise DatabaseError(f"{self.path} is closed")
            try:
                async with asyncio.timeout(limit_s), self._connection.begin():
                    yield self._connection
            except SQLAlchemyError as error:
                raise DatabaseError(f"{self.path}: {reason(error)}") from error

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.transaction()

    async def carry_out(self, orders: Sequence[Order]) -> None:
        async with self._visiting() as visit:
            dialect = self.dialect
            spelled = [order.spelled(dialect) for order in orders if order.rows]

            def write(connection: Any) -> None:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    for text, rows in spelled:
                        connection.executemany(text, rows)
                    connection.commit()
                except BaseException:
                    connection.rollback()
                    raise

            await visit(write)

    async def read(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._visiting() as visit:
            found: list[tuple[Any, ...]] = await visit(lambda connection: connection.execute(text, values).fetchall())
            return found

    @asynccontextmanager
    async def _visiting(self) -> AsyncIterator[Callable[[Callable[[Any], Any]], Any]]:
        """Whatever is given is carried out by the connection's thread in one visit. Whoever stops waiting for it does
        not stop it: what comes next waits its turn there."""
        async with self._lock:
            if self._connection is None:
                raise DatabaseError(f"{self.path} is closed")
            its_error = self._driver_error()
            try:
                async with asyncio.timeout(TRANSACTION_LIMIT_S):
                    driver: Any = (await self._connection.get_raw_connection()).driver_connection
                    # The driver's own methods make a visit each.
                    yield lambda work: driver._execute(work, driver._conn)  # noqa: SLF001
            except its_error as error:
                raise DatabaseError(f"{self.path}: {reason(error)}") from error

    def _driver_error(self) -> type[Exception]:
        """SQLite's own, which SQLAlchemy has not seen."""
        driver: Any = self.dialect.loaded_dbapi
        found: type[Exception] = driver.Error
        return found

    @property
    def dialect(self) -> sa.Dialect:
        if self._connection is None:
            raise DatabaseError(f"{self.path} is closed")
        return self._connection.dialect

    async def probe(self) -> None:
        async with self.transaction() as connection:
            await connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")

    @staticmethod
    async def _configure(connection: AsyncConnection) -> None:
        """Asserted, not assumed: other settings lose acknowledged commits at a power cut."""
        for pragma, expected in (
            (f"busy_timeout={BUSY_TIMEOUT_MS}", BUSY_TIMEOUT_MS),
            ("journal_mode=WAL", "wal"),
            ("synchronous=FULL", 2),
            ("foreign_keys=ON", 1),
        ):
            await connection.exec_driver_sql(f"PRAGMA {pragma}")
            name = pragma.partition("=")[0]
            value = (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            if value != expected:
                raise DatabaseError(f"SQLite took {name} = {value!r} instead of {expected!r}")
        await connection.rollback()

    @staticmethod
    async def _migrate(connection: AsyncConnection) -> None:
        version = (await connection.exec_driver_sql("PRAGMA user_version")).scalar() or 0
        if version != SCHEMA:
            # The driver begins no transaction for a DDL statement: without this, half a migration could stay.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            await connection.run_sync(migrations.bring_up_to_date, version or None)
            await connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
        await connection.commit()
