"""PostgreSQL: a pool of connections for this process. Every wait has a limit, on both ends: the server ends a statement
that takes too long, and a transaction that was forgotten; this end gives up on a server that does not answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from intercomd.hub.storage import migrations
from intercomd.hub.storage import orders as ordering
from intercomd.hub.storage.backend import TRANSACTION_LIMIT_S, Conflict, DatabaseError, reason
from intercomd.hub.storage.orders import Order

POOL_SIZE: Final = 10
POOL_WAIT_S: Final = 2.0
CONNECT_LIMIT_S: Final = 3.0
CLOSE_LIMIT_S: Final = 2.0
STATEMENT_LIMIT_S: Final = 3.0
LOCK_LIMIT_S: Final = 2.0
MIGRATION_LIMIT_S: Final = 60.0
"""Another process may be migrating."""
MIGRATION_LOCK: Final = 0x696E7465726D  # any number that nobody else uses in this database

_CONFLICTS: Final = frozenset({"23505", "40001", "40P01", "55P03"})
"""unique_violation, serialization_failure, deadlock_detected, lock_not_available (PostgreSQL, appendix A)."""
_REMEDIES: Final = {
    "28P01": "correct the password (the credential `database-password`, or hub.database_password_file)",
    "28000": "let this user in: pg_hba.conf on the database's machine",
    "3D000": "make it: createdb --owner USER NAME, on the database's machine",
    "42501": "the hub's user must own its database",
    "53300": f"raise max_connections: each hub process takes up to {POOL_SIZE}",
    "53100": "free space on the database's machine",
    "57P03": "it starts or stops; the hub tries again",
}


class Postgres:
    """A pool. The pool drops connections that a restart of the server has broken; whoever held one hears
    `DatabaseError` and tries again."""

    def __init__(self, url: sa.URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        self._url = url
        self._engine: AsyncEngine | None = None
        self._autocommitting: AsyncEngine | None = None
        self._in_use = 0
        self._unused = asyncio.Event()
        try:
            import asyncpg
        except ModuleNotFoundError as error:
            raise DatabaseError(f"{self.name}: no driver for PostgreSQL; pip install 'intercomd[postgres]'") from error
        # While connecting, asyncpg's own errors come through as they are.
        self._failures: tuple[type[Exception], ...] = (
            SQLAlchemyError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError,
        )  # fmt: skip

    async def open(self) -> None:
        self._engine = create_async_engine(
            self._url,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
            pool_use_lifo=True,
            connect_args={
                "timeout": CONNECT_LIMIT_S,
                "server_settings": {
                    "application_name": "intercomd hub",
                    "statement_timeout": _ms(STATEMENT_LIMIT_S),
                    "lock_timeout": _ms(LOCK_LIMIT_S),
                    "idle_in_transaction_session_timeout": _ms(TRANSACTION_LIMIT_S),
                    # Short statements by key: compiling them would take longer than carrying them out.
                    "jit": "off",
                },
            },
        )
        # The same pool. To the driver this is an attribute of the connection, no word to the server.
        self._autocommitting = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            async with self._limited(MIGRATION_LIMIT_S) as connection:
                await self._migrate(connection)
        except BaseException:  # also a cancelled start: nobody else knows these connections
            await self.close()
            raise

    async def close(self) -> None:
        """Those that are in use are waited for: the pool would forget them, open as they are."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        if self._in_use:
            self._unused.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await self._unused.wait()
        await engine.dispose()

    @contextmanager
    def _using(self) -> Iterator[AsyncEngine]:
        if self._engine is None:
            raise DatabaseError(f"{self.name} is closed")
        self._in_use += 1
        try:
            yield self._engine
        finally:
            self._in_use -= 1
            if not self._in_use:
                self._unused.set()

    @asynccontextmanager
    async def transaction(self, limit_s: float = TRANSACTION_LIMIT_S) -> AsyncIterator[AsyncConnection]:
        async with self._limited(limit_s) as connection:
            yield connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        async with self._limited(TRANSACTION_LIMIT_S, autocommit=True) as connection:
            yield connection

    async def carry_out(self, orders: Sequence[Order]) -> None:
        async with self.transaction() as connection:
            await ordering.carry_out(connection, orders)

    async def read(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        async with self.statement() as connection:
            return (await connection.exec_driver_sql(text, tuple(values))).all()

    @property
    def dialect(self) -> sa.Dialect:
        if self._engine is None:
            raise DatabaseError(f"{self.name} is closed")
        return self._engine.dialect

    async def probe(self) -> None:
        async with self.transaction() as connection:
            await connection.exec_driver_sql("SELECT txid_current()")  # takes a transaction id: not while read-only

    async def announce(self, channel: str, words: str) -> None:
        """At most 8000 bytes (PostgreSQL, NOTIFY)."""
        async with self.transaction() as connection:
            await connection.execute(sa.select(sa.func.pg_notify(channel, words)))

    @asynccontextmanager
    async def listening(
        self, channels: Sequence[str], heard: Callable[[str, str], None]
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        def on_notice(_connection: object, _pid: int, channel: str, words: str) -> None:
            heard(channel, words)

        with self._using() as engine:
            try:
                async with asyncio.timeout(CONNECT_LIMIT_S):
                    connection = await engine.connect()
            except self._failures as error:
                raise self._failed(error) from error
            try:
                # LISTEN lasts as long as the session: outside of the transactions that SQLAlchemy would begin.
                driver: Any = (await connection.get_raw_connection()).driver_connection
                await self._guarded(self._listen(driver, channels, on_notice))
                yield lambda: self._guarded(self._look(driver))
            finally:
                # Not back into the pool: it listens.
                await connection.invalidate()
                await connection.close()

    async def _listen(self, driver: Any, channels: Sequence[str], on_notice: Callable[..., None]) -> None:
        for channel in channels:
            await driver.add_listener(channel, on_notice)

    async def _look(self, driver: Any) -> None:
        if self._engine is None:
            raise DatabaseError(f"{self.name} is closed")
        await driver.execute("SELECT 1", timeout=STATEMENT_LIMIT_S)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(STATEMENT_LIMIT_S):
                await work
        except self._failures as error:
            raise self._failed(error) from error

    @asynccontextmanager
    async def _limited(self, limit_s: float, *, autocommit: bool = False) -> AsyncIterator[AsyncConnection]:
        with self._using() as engine:
            begin = self._autocommitting.begin if autocommit and self._autocommitting is not None else engine.begin
            try:
                async with asyncio.timeout(limit_s), begin() as connection:
                    yield connection
            except self._failures as error:
                raise self._failed(error) from error

    def _failed(self, error: BaseException) -> DatabaseError:
        state = _state(error)
        if state in _CONFLICTS:
            return Conflict(f"{self.name}: {reason(error)}")
        if state is not None:
            return DatabaseError("; ".join(filter(None, (f"{self.name}: {reason(error)}", _REMEDIES.get(state)))))
        if isinstance(error, PoolTimeoutError):
            return DatabaseError(f"{self.name}: all {POOL_SIZE} connections are in use; the database is too slow")
        if isinstance(error, TimeoutError):
            return DatabaseError(f"{self.name}: no answer in time; look at its machine and the network")
        return DatabaseError(f"{self.name}: {reason(error)}; start PostgreSQL, or correct hub.database_url")

    @staticmethod
    async def _migrate(connection: AsyncConnection) -> None:
        """One process at a time, the others wait for it."""
        for name in ("statement_timeout", "lock_timeout"):
            await connection.exec_driver_sql(f"SET LOCAL {name} = {_ms(MIGRATION_LIMIT_S)}")
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        await connection.run_sync(lambda sync: migrations.bring_up_to_date(sync, migrations.version(sync)))


def _state(error: BaseException) -> str | None:
    """SQLSTATE, of asyncpg's error or of SQLAlchemy's around it."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None)
    return state if isinstance(state, str) else None


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
