"""Many rows, and rows by many keys, at the driver's own speed: on both databases."""

import pytest
import sqlalchemy as sa

from intercomd.core.vocabulary import CallRecord, EndReason, Metrics
from intercomd.hub.history import records
from intercomd.hub.storage import bulk
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import call_legs, call_records
from intercomd.ids import IdentityId
from tests.unit.databases import database as database
from tests.unit.hub_calls import FLAT, ended

FLAT_ID = IdentityId("flat")


def claim(call_id: str) -> CallRecord:
    return CallRecord(call_id, "door", "callee", EndReason.COMPLETED, 1.5, 9.0, metrics=Metrics(mos=4.0))


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 65, 300])
async def test_rows_by_any_number_of_keys(database: Database, count: int) -> None:
    await records.upload(database, FLAT_ID, [claim(f"c{number}") for number in range(310)])
    keys = [f"c{number}" for number in range(count)]
    async with database.transaction() as connection:
        found = await bulk.among(connection, call_records.c.call_id, call_records.c.call_id, [*keys, *keys[:3]])
    assert sorted(found) == sorted(keys)


async def test_the_same_rows_again_change_nothing(database: Database) -> None:
    batch = [claim(f"c{number}") for number in range(20)]
    for _ in range(2):
        await records.upload(database, FLAT_ID, [*batch, *batch[:5]])
    async with database.transaction() as connection:
        rows = (await connection.execute(sa.select(call_records))).all()
    assert len(rows) == 20
    assert {(row.reported_by, row.caller_id, row.created_at, row.answered_at) for row in rows} == {
        ("flat", "door", 1.5, None)
    }


async def test_figures_complete_what_is_there(database: Database) -> None:
    await records.write(database, [(None, ended())])
    for metrics in (Metrics(mos=4.0, audio_packets_lost=-3), Metrics(jitter=0.5)):
        one = CallRecord(ended().call_id, "door", "callee", EndReason.FAILED, 1.0, 9.0, metrics=metrics)
        await records.upload(database, FLAT.identity, [one])
    async with database.transaction() as connection:
        (leg,) = (await connection.execute(sa.select(call_legs))).all()
    assert (leg.mos, leg.packets_lost, leg.jitter_s, leg.reported_reason) == (4.0, -3, 0.5, "failed")
