"""Databases of every earlier version are taken over; what the migrations make is what hub/storage/tables.py says."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from intercomd.hub.history import records
from intercomd.hub.people import directory
from intercomd.hub.storage import migrations
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.storage.tables import SCHEMA, call_legs, call_records, metadata
from intercomd.ids import CallId

EARLIER = range(1, SCHEMA)
GOLDEN = Path(__file__).parent.parent / "golden" / "hub"
"""Dumps of what each earlier version itself has written: a talk that is over, one that goes on, a report."""

postgres_too = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgres", marks=pytest.mark.platform("postgres"))], indirect=True
)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"
    made: str = request.getfixturevalue("postgres_url")
    return made


@pytest.fixture
async def connection(url: str) -> AsyncIterator[AsyncConnection]:
    """To an empty database, past everything of ours."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


def take(folder: Path, schema: int) -> Path:
    """A database of that schema."""
    file = folder / "hub.db"
    with sqlite3.connect(file) as old:
        old.executescript((GOLDEN / f"schema-{schema}.sql").read_text())
    old.close()
    return file


def differences(connection: sa.Connection) -> list[Any]:
    # SQLite gives a default back as it was written, quotes and all: Alembic takes each for a new one.
    options = {"compare_type": True, "compare_server_default": connection.dialect.name == "postgresql"}
    context = MigrationContext.configure(connection, opts=options)
    return compare_metadata(context, metadata)


async def in_database(url: str, ask: Callable[[sa.Connection], Any]) -> Any:
    database = Database(url)
    await database.open()
    try:
        async with database.transaction() as connection:
            return await connection.run_sync(ask)
    finally:
        await database.close()


@pytest.mark.parametrize("schema", EARLIER)
async def test_a_database_of_an_earlier_version_is_taken_over(tmp_path: Path, url: str, schema: int) -> None:
    take(tmp_path, schema)
    for _ in range(2):
        assert await in_database(url, differences) == []
        version = await in_database(url, lambda connection: connection.exec_driver_sql("PRAGMA user_version").scalar())
        assert version == SCHEMA


@pytest.mark.parametrize("schema", EARLIER)
async def test_what_an_earlier_version_has_written_is_there(tmp_path: Path, url: str, schema: int) -> None:
    take(tmp_path, schema)
    database = Database(url)
    await database.open()
    (talk,) = await records.load_open(database)
    over = (await records.load(database, [CallId("c")]))[CallId("c")]
    known = await directory.read(database)
    async with database.transaction() as connection:
        reports = (await connection.execute(sa.select(call_records.c.call_id, call_records.c.reported_by))).all()
        (leg,) = (await connection.execute(sa.select(call_legs))).all()
    await database.close()
    assert (talk.call_id, talk.phase, over.end_reason) == ("open", "connected", "completed")
    assert sorted(map(tuple, reports)) == [("c", ""), ("unseen", "flat")]
    assert (leg.jitter_s, leg.packets_lost, leg.mos) == (0.5, 3, None)
    assert set(known.identities) == {"door", "flat", "house"} | ({"resident"} if schema > 1 else set())
    assert known.by_token("token 1") is known.identities[directory.IdentityId("door")]
    assert set(known.groups[directory.IdentityId("house")]) >= {"flat"}


@postgres_too
async def test_the_migrations_make_what_the_tables_say(connection: AsyncConnection) -> None:
    await connection.run_sync(migrations.upgrade, 0)
    assert await connection.run_sync(differences) == []
    assert await connection.run_sync(migrations.version) == SCHEMA


@postgres_too
async def test_a_fresh_database_knows_its_schema(url: str) -> None:
    for _ in range(2):
        assert await in_database(url, differences) == []
        assert await in_database(url, migrations.version) == SCHEMA


@pytest.mark.platform("postgres")
async def test_a_newer_schema_is_not_touched(postgres_url: str) -> None:
    newer = sa.text(f"UPDATE alembic_version SET version_num = '{SCHEMA + 1}'")
    await in_database(postgres_url, lambda connection: connection.execute(newer).rowcount)
    with pytest.raises(DatabaseError, match="newer"):
        await Database(postgres_url).open()


async def test_a_migration_that_fails_leaves_everything_as_it_was(tmp_path: Path, url: str) -> None:
    file = take(tmp_path, SCHEMA - 1)
    with sqlite3.connect(file) as old:
        old.execute("CREATE TABLE queued_calls (somebody_elses TEXT)")
        before = list(old.iterdump())
    old.close()
    with pytest.raises(DatabaseError, match="already exists"):
        await Database(url).open()
    with sqlite3.connect(file) as old:
        assert list(old.iterdump()) == before
        assert old.execute("PRAGMA user_version").fetchone() == (SCHEMA - 1,)
    old.close()


@pytest.mark.platform("postgres")
async def test_processes_that_start_at_once_make_the_tables_once(postgres_url: str) -> None:
    databases = [Database(postgres_url) for _ in range(3)]
    await asyncio.gather(*(database.open() for database in databases))
    for database in databases:
        await database.probe()
        await database.close()


def test_each_migration_follows_the_one_before() -> None:
    """No schema without a way to it."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", migrations.SCRIPTS)
    script = ScriptDirectory.from_config(config)
    assert [found.revision for found in script.walk_revisions()] == [str(schema) for schema in range(SCHEMA, 0, -1)]
