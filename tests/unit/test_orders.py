"""Statements that are carried out together: on both databases."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from intercomd.hub.history import records
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.storage.orders import MOST_AT_ONCE, Order
from intercomd.hub.storage.tables import call_members, open_legs, queued_calls
from intercomd.ids import CallId
from tests.unit.databases import database as database
from tests.unit.hub_calls import CALL, connected, ended

NEXT = CallId("next")
JOIN, TAKE, QUEUE = sa.insert(call_members), sa.insert(open_legs), sa.insert(queued_calls)
DEQUEUE = sa.delete(queued_calls).where(queued_calls.c.call_id == sa.bindparam("its_call_id"))


async def ids(database: Database, table: sa.Table) -> list[str]:
    async with database.transaction() as connection:
        return sorted((await connection.execute(sa.select(table.c.call_id))).scalars())


def legs(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"identity": name, "instance": "1", "call_id": "c"} for name in names]


@pytest.mark.parametrize("count", [1, 2, MOST_AT_ONCE + 1])
async def test_each_row_of_each_order(database: Database, count: int) -> None:
    members = [{"identity": f"m{number}", "call_id": f"c{number}"} for number in range(count)]
    await database.carry_out([Order(JOIN, members), Order(TAKE, legs(["a", "b"])), Order(QUEUE, [])])
    assert await ids(database, call_members) == sorted(row["call_id"] for row in members)
    assert await ids(database, open_legs) == ["c", "c"]


async def test_all_or_nothing(database: Database) -> None:
    await database.carry_out([Order(TAKE, legs(["a"]))])
    with pytest.raises(DatabaseError):
        await database.carry_out([Order(QUEUE, [{"call_id": "q"}]), Order(TAKE, legs(["b", "a"]))])
    assert await ids(database, queued_calls) == []
    assert len(await ids(database, open_legs)) == 1
    await database.carry_out([Order(QUEUE, [{"call_id": "q"}])])
    assert await ids(database, queued_calls) == ["q"]


async def test_what_must_come_after_the_others(database: Database) -> None:
    """All that is done at once sees the same moment: what follows from it is an order alone."""
    row = {"call_id": "q"}
    await database.carry_out([Order(QUEUE, [row]), Order(DEQUEUE, [{"its_call_id": "q"}], alone=True)])
    await database.carry_out([Order(QUEUE, [row])])
    assert await ids(database, queued_calls) == ["q"]


async def test_a_device_leaves_one_call_for_the_next_in_one_go(database: Database) -> None:
    await records.write(database, [(None, connected())])
    await records.write(database, [(None, replace(connected(), call_id=NEXT)), (connected(), ended())])
    assert set(await ids(database, open_legs)) == {NEXT}
    assert set(await records.load(database, [CALL, NEXT])) == {CALL, NEXT}
