"""What is deleted when, and what never."""

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from intercomd.core.vocabulary import Metrics
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.history import records, retention
from intercomd.hub.history.records import KEEP_CALLS_S, Figures
from intercomd.hub.history.retention import DAY_S, Retention
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import call_legs, call_parties, call_records, calls
from tests.unit.databases import database as database
from tests.unit.hub_calls import FLAT, connected, ended

YEAR_S = 365 * DAY_S


async def count(database: Database, table: sa.Table) -> int:
    async with database.transaction() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())


async def write(database: Database, name: str, at_s: float) -> None:
    figures = [Figures(name, FLAT.endpoint, "callee", Metrics(mos=4.0))]
    await records.write(database, [(None, replace(ended(), call_id=name, created_at=at_s))], figures)


def sweeping(database: Database, days: int, now_s: float) -> Retention:
    return Retention(database, days, lambda: now_s, FakeJournal())


async def test_old_records_go_with_all_that_belongs_to_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps that are smaller than what there is to delete."""
    monkeypatch.setattr(retention, "STEP_ROWS", 3)
    for number in range(8):
        await write(database, f"old{number}", float(number))
    await write(database, "young", YEAR_S)
    assert await sweeping(database, 30, YEAR_S).sweep(0.0) == 8 + 8 + 16
    for table, left in ((call_records, 1), (call_legs, 1), (call_parties, 2), (calls, 1)):
        assert await count(database, table) == left, table.name
    assert await sweeping(database, 30, YEAR_S).sweep(0.0) == 0


async def test_without_a_limit_records_are_kept_for_ever_and_final_states_are_not(database: Database) -> None:
    await write(database, "old", 0.0)
    await write(database, "young", 2 * KEEP_CALLS_S)
    await sweeping(database, 0, 2 * KEEP_CALLS_S).sweep(0.0)
    assert (await count(database, call_records), await count(database, calls)) == (2, 1)


async def test_a_clock_that_is_years_ahead_deletes_nothing(database: Database) -> None:
    await write(database, "today", YEAR_S)
    assert await sweeping(database, 30, 30 * YEAR_S).sweep(0.0) == 0


async def test_an_open_call_is_never_too_old(database: Database) -> None:
    await records.write(database, [(None, connected())])
    await write(database, "young", YEAR_S)
    await sweeping(database, 1, YEAR_S).sweep(0.0)
    assert len(await records.load_open(database)) == 1
