"""`intercomd hub move`: a house that has outgrown one process keeps its stations, residents, rights and records."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from intercomd.config import Config, Hub
from intercomd.fakes.journal import FakeJournal
from intercomd.hub import admin
from intercomd.hub.server import HubServer
from intercomd.hub.storage.database import Database, call_records
from intercomd.hub.storage.tables import calls, identities, open_legs, push_keys, rights, tokens
from tests.e2e.hub_clients import settings

pytestmark = pytest.mark.platform("postgres")
ROWS = 2_500
"""More than two batches."""
KEY = b"\x00\xff key"


@pytest.fixture
def shared(postgres_url: str) -> Hub:
    return Hub(port=0, database_url=postgres_url)


async def _said(config: Hub, *argv: str) -> int:
    return await asyncio.to_thread(admin.main, Config(hub=config), argv)


async def _served(config: Hub, capsys: pytest.CaptureFixture[str]) -> str:
    """A hub of one process that has been used; a station's token."""
    async with HubServer(config, FakeJournal()) as hub:
        capsys.readouterr()
        assert await _said(config, "add-station", "gate") == 0
        token = capsys.readouterr().out.strip()
        assert await _said(config, "allow", "gate", "door", "gate") == 0
        async with hub._database.transaction() as connection:
            common = {
                "caller_id": "gate",
                "recipient_id": "flat",
                "created_at": 1.0,
                "ended_at": 2.0,
                "duration_s": 1.0,
            }
            ended = {**common, "outcome": "answered", "reason": "hangup"}
            await connection.execute(call_records.insert(), [{**ended, "call_id": f"c{n}"} for n in range(ROWS)])
            open_call = {"call_id": "open", "phase": "connected", "state": b"", "created_at": 1.0}
            await connection.execute(calls.insert(), [open_call, {**open_call, "call_id": "over", "phase": "ended"}])
            await connection.execute(open_legs.insert().values(identity="gate", instance="i", call_id="open"))
            await connection.execute(push_keys.insert().values(id=1, private_der=KEY))
    return token


async def test_a_house_moves_into_the_shared_database(
    tmp_path: Path, shared: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    single = settings(tmp_path)
    token = await _served(single, capsys)
    file = single.database_url.partition(":///")[2]
    assert await _said(shared, "move", file) == 0
    assert f"call_records: {ROWS}" in capsys.readouterr().err
    async with HubServer(shared, FakeJournal()) as hub:
        station = hub._registry.directory.by_token(token)
        assert station is not None
        assert station.id == "gate"
        assert hub._registry.directory.may_open("gate", "gate")
        async with hub._database.transaction() as connection:
            assert await connection.scalar(sa.select(push_keys.c.private_der)) == KEY
            assert list(await connection.scalars(sa.select(calls.c.call_id))) == ["over"], "an open call stays behind"
            assert not await connection.scalar(sa.select(sa.func.count()).select_from(open_legs))
            # The next record takes a number of its own.
            columns = [column for column in call_records.c if column.name not in ("id", "call_id")]
            row = (await connection.execute(sa.select(*columns).limit(1))).mappings().one()
            await connection.execute(call_records.insert().values(call_id="new", **row))


async def test_what_cannot_be_moved_is_left_as_it_is(
    tmp_path: Path, shared: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    single = settings(tmp_path)
    file = single.database_url.partition(":///")[2]
    for config, name, said in (
        (shared, str(tmp_path / "absent.db"), "no such file"),
        (single, file, "names no PostgreSQL"),
    ):
        assert await _said(config, "move", name) == 75
        assert said in capsys.readouterr().err
    async with HubServer(single, FakeJournal()):
        assert await _said(shared, "move", file) == 75, "a hub has it open"
    async with HubServer(shared, FakeJournal()):
        pass
    database = Database(shared.database_url)
    await database.open()
    try:
        async with database.transaction() as connection:
            await connection.execute(rights.insert().values(subject="a", action="call", object="b", allowed=True))
        assert await _said(shared, "move", file) == 75
        assert "in use" in capsys.readouterr().err
        async with database.transaction() as connection:
            for table in (identities, tokens, call_records):
                assert not await connection.scalar(sa.select(sa.func.count()).select_from(table))
    finally:
        await database.close()
