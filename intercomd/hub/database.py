"""The hub's tables, and the one connection through which everything is read and written.

Exactly one: SQLite up to 3.51.2 can lose a WAL reset when two connections checkpoint at once. A transaction
holds the connection's lock; a lock file beside the database keeps a second process away."""

import asyncio
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

SCHEMA = 4
"""2: tokens of residents, and whom a call concerned. 3: more of a leg's quality. 4: rights, groups' ways to ring, quiet
hours, administrators, pairings. Only new tables, and new columns that may be NULL: both are made where they are
missing."""
BUSY_TIMEOUT_MS = 5000
TRANSACTION_LIMIT_S = 10.0
"""A transaction that takes longer means a disk that hangs: nothing can be promised to anybody any more."""

metadata = sa.MetaData()

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("token_sha256", sa.LargeBinary, unique=True),
    sa.Column("created_at", sa.Float, nullable=False),
    # What people are shown instead of the id; the id stays, because records and rights name it.
    sa.Column("shown_name", sa.String),
    sa.Column("banned_at", sa.Float),
    sa.Column("do_not_disturb_until", sa.Float),
    sa.Column("quiet_from_min", sa.Integer),
    sa.Column("quiet_to_min", sa.Integer),
    sa.Column("busy_policy", sa.String),
    sa.Column("ring_mode", sa.String),
    sa.Column("ring_each_s", sa.Float),
    sa.Column("escalate_to", sa.String),
)
members = sa.Table(
    "members",
    metadata,
    sa.Column("group_id", sa.String, sa.ForeignKey("identities.id"), primary_key=True),
    sa.Column("member_id", sa.String, sa.ForeignKey("identities.id"), primary_key=True),
    sa.Column("position", sa.Integer),
)
rights = sa.Table(
    "rights",
    metadata,
    # Subject and object: an identity, a group, or "*" for everybody. Action: "call" or "door".
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("action", sa.String, primary_key=True),
    sa.Column("object", sa.String, primary_key=True),
    sa.Column("allowed", sa.Boolean, nullable=False),
)
tokens = sa.Table(
    "tokens",
    metadata,
    # What a resident's browser holds: an invitation that works once, or the session that it was exchanged for.
    sa.Column("sha256", sa.LargeBinary, primary_key=True),
    sa.Column("identity", sa.String, sa.ForeignKey("identities.id"), nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
administrators = sa.Table(
    "administrators",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    # Argon2id, with its parameters and salt; NULL until the one-time link was followed.
    sa.Column("password_hash", sa.String),
    sa.Column("created_at", sa.Float, nullable=False),
)
administrator_tokens = sa.Table(
    "administrator_tokens",
    metadata,
    # As `tokens`, of people who are no identities: an administrator is never called. NULL: the first administrator's
    # link, made before there is one.
    sa.Column("sha256", sa.LargeBinary, primary_key=True),
    sa.Column("administrator", sa.String, sa.ForeignKey("administrators.name"), index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
pairings = sa.Table(
    "pairings",
    metadata,
    sa.Column("code_sha256", sa.LargeBinary, primary_key=True),
    sa.Column("station", sa.String, sa.ForeignKey("identities.id"), nullable=False, index=True),
    # Typed by a person, so short: only for minutes, and each wrong one is a try at all that are open.
    sa.Column("typed", sa.Boolean, nullable=False),
    sa.Column("tries_left", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("phase", sa.String, nullable=False, index=True),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False, index=True),
)
open_legs = sa.Table(
    "open_legs",
    metadata,
    # The key says what "busy" means: no device has a part in two open calls.
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("instance", sa.String, primary_key=True),
    sa.Column("call_id", sa.String, nullable=False, index=True),
)
call_records = sa.Table(
    "call_records",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_id", sa.String, nullable=False),
    # "" for the hub's own record; else who reported a call that the hub never saw.
    sa.Column("reported_by", sa.String, nullable=False, server_default=""),
    sa.Column("caller_id", sa.String, nullable=False),
    sa.Column("recipient_id", sa.String, nullable=False),
    sa.Column("callee_id", sa.String),
    sa.Column("conversation_id", sa.String),
    sa.Column("created_at", sa.Float, nullable=False, index=True),
    sa.Column("answered_at", sa.Float),
    sa.Column("ended_at", sa.Float, nullable=False),
    sa.Column("duration_s", sa.Float, nullable=False),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("ender_id", sa.String),
    sa.UniqueConstraint("call_id", "reported_by"),
)
call_parties = sa.Table(
    "call_parties",
    metadata,
    # Whom a call concerned: its caller, and everybody whom it was for, connected or not.
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Index("call_parties_by_time", "identity", "created_at"),
)
call_legs = sa.Table(
    "call_legs",
    metadata,
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("reported_reason", sa.String),
    sa.Column("connection_time_s", sa.Float),
    sa.Column("packets_lost", sa.Integer),
    sa.Column("packets_received", sa.Integer),
    sa.Column("jitter_s", sa.Float),
    sa.Column("round_trip_s", sa.Float),
    sa.Column("duration_s", sa.Float),
    sa.Column("concealed_ratio", sa.Float),
    sa.Column("buffer_delay_s", sa.Float),
    sa.Column("buffer_target_s", sa.Float),
    sa.Column("played_frames", sa.Integer),
    sa.Column("recovered_frames", sa.Integer),
    sa.Column("concealed_frames", sa.Integer),
    sa.Column("concealments", sa.Integer),
    sa.Column("stretched_frames", sa.Integer),
    sa.Column("late_packets", sa.Integer),
    sa.Column("left_out_packets", sa.Integer),
    sa.Column("mouth_to_ear_s", sa.Float),
    sa.Column("mos", sa.Float),
    sa.Column("erle_db", sa.Float),
    sa.Column("xruns", sa.Integer),
    sa.Column("drift_ppm", sa.Float),
    sa.Column("cpu_ratio", sa.Float),
)


class DatabaseError(Exception):
    """The database cannot be opened, read or written; the text says why and what to do."""


def path_of(url: str) -> Path:
    """The file behind a `sqlite+aiosqlite:///` URL. Raises `DatabaseError` for any other."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise DatabaseError(f"hub.database_url {parsed.render_as_string()}: only SQLite files are supported")
    return Path(parsed.database)


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


class Database:
    """One connection for the life of the process. `async with database.transaction() as connection`."""

    def __init__(self, url: str) -> None:
        self.path = path_of(url)
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
            raise DatabaseError(f"{self.path}: {_reason(error)}; restore it from a backup, or free space") from error
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
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Committed on leaving, rolled back on an exception. Raises `DatabaseError`; what the block itself
        raises passes through. `TimeoutError` means that the disk hangs: the process should end."""
        async with self._lock:
            if self._connection is None:
                raise DatabaseError(f"{self.path} is closed")
            try:
                async with asyncio.timeout(TRANSACTION_LIMIT_S), self._connection.begin():
                    yield self._connection
            except SQLAlchemyError as error:
                raise DatabaseError(f"{self.path}: {_reason(error)}") from error

    async def probe(self) -> None:
        """Write something that changes nothing. Raises `DatabaseError`."""
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
        if version > SCHEMA:
            raise DatabaseError(
                f"the database has schema {version}, this version knows {SCHEMA}; install the newer one"
            )
        if version < SCHEMA:
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(_add_columns)
            await connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
        await connection.commit()


def _add_columns(connection: sa.Connection) -> None:
    """What an older version's tables lack. Adding a column that may be NULL touches no row (SQLite, ALTER TABLE)."""
    inspector = sa.inspect(connection)
    for table in metadata.sorted_tables:
        there = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {kind}')


def _reason(error: Exception) -> str:
    """The driver's own words, without SQL and its parameters (which may hold what does not belong in a
    log)."""
    origin = getattr(error, "orig", None)
    return str(origin or type(error).__name__)
