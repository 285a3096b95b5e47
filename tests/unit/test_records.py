"""What the hub writes down: states, one record for each call, and what stations add."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from intercomd.core.legs import HubCall
from intercomd.core.protocol import EndCall
from intercomd.core.vocabulary import CallRecord, EndReason, HubPhase, Metrics
from intercomd.hub.history import records
from intercomd.hub.history.records import KEEP_CALLS_S, Figures
from intercomd.hub.storage.database import (
    SCHEMA,
    Database,
    DatabaseError,
    call_legs,
    call_records,
    claimed,
    open_legs,
    path_of,
)
from tests.unit.hub_calls import CALL, DESK, DOOR, FLAT, connected, connecting, ended, request, ringing


def url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'hub.db'}"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(url(tmp_path))
    await database.open()
    yield database
    await database.close()


async def rows(database: Database, table: sa.Table) -> list[dict[str, Any]]:
    async with database.transaction() as connection:
        return [dict(row._mapping) for row in await connection.execute(sa.select(table))]


def claim(call_id: str = CALL, **changed: Any) -> CallRecord:
    told = {"peer_id": "door", "role": "callee", "end_reason": EndReason.FAILED, "started_at": 1.0, "ended_at": 9.0}
    return CallRecord(call_id=call_id, **{**told, **changed})


async def test_states_are_read_as_they_were_written(database: Database) -> None:
    call, other = connected(), replace(ringing(), call_id="d", caller=replace(ringing().caller, party=DESK), callees=())
    await records.write(database, [(None, call), (None, other)])
    assert set(await records.load_open(database)) == {call, other}
    assert await records.load(database, [CALL]) == {CALL: call}


async def test_an_ended_call_is_over_for_good(database: Database) -> None:
    """Whatever is written later: the final state stands, and its record is there once."""
    call = ended()
    await records.write(database, [(None, call)])
    await records.write(database, [(call, replace(call, end_reason=EndReason.PEER_LOST, ended_at=99.0))])
    await records.write(database, [(None, connected())])
    assert await records.load(database, [CALL]) == {CALL: call}
    assert await records.load_open(database) == ()
    (record,) = await rows(database, call_records)
    assert (record["reason"], record["ended_at"], record["duration_s"]) == ("completed", 5.0, 4.0)


async def test_the_database_itself_knows_what_busy_is(database: Database) -> None:
    await records.write(database, [(None, ringing())])
    with pytest.raises(DatabaseError, match="UNIQUE"):
        await records.write(database, [(None, replace(connected(), call_id="other"))])
    assert set(await records.load_open(database)) == {ringing()}


async def test_legs_are_released_and_taken_in_one_transaction(database: Database) -> None:
    await records.write(database, [(None, connected())])
    await records.write(database, [(None, replace(connected(), call_id="next")), (connected(), ended())])
    assert {row["call_id"] for row in await rows(database, open_legs)} == {"next"}


@pytest.mark.parametrize(
    ("call", "outcome", "callee"),
    [
        (ended(), "completed", "flat"),
        (request(ringing(), DOOR, EndCall(CALL))[0], "missed", None),
        (request(ringing(), FLAT, EndCall(CALL))[0], "rejected", None),
        (
            request(connecting(), FLAT, EndCall(CALL, "network"))[0],
            "completed",
            "flat",
        ),
    ],
    ids=["completed", "missed", "rejected", "failed"],
)
async def test_the_outward_word(database: Database, call: HubCall, outcome: str, callee: str | None) -> None:
    await records.write(database, [(None, call)])
    (record,) = await rows(database, call_records)
    assert (record["outcome"], record["callee_id"], record["reported_by"]) == (outcome, callee, "")


async def test_figures_are_completed_and_not_wiped(database: Database) -> None:
    await records.write(database, [(None, ended())], [Figures(CALL, FLAT.endpoint, "callee", Metrics(jitter=0.5))])
    await records.write(database, [], [Figures(CALL, FLAT.endpoint, "callee", Metrics(audio_packets_lost=3))])
    await records.upload(database, FLAT.identity, [claim(metrics=Metrics(call_duration=7.0, jitter=0.25))])
    (leg,) = await rows(database, call_legs)
    assert (leg["jitter_s"], leg["packets_lost"], leg["duration_s"]) == (0.25, 3, 7.0)
    assert (leg["role"], leg["reported_reason"]) == ("callee", "failed")


ALL_FIGURES = Metrics(
    connection_time=0.2, audio_packets_lost=3, audio_packets_received=1873, jitter=0.0041, round_trip_time=0.0087,
    call_duration=37.5, concealed_ratio=0.0016, buffer_delay=0.042, buffer_target=0.03, played_frames=1_800_000,
    recovered_frames=960, concealed_frames=2880, concealments=2, stretched_frames=720, late_packets=1,
    left_out_packets=4, mouth_to_ear=0.093, mos=4.21, erle_db=31.5, xruns=5, drift_ppm=-12.5, cpu_ratio=0.12,
)  # fmt: skip


async def test_every_figure_is_kept(database: Database) -> None:
    """None is forgotten, and none is taken for another: all differ."""
    told = {name: getattr(ALL_FIGURES, name) for name in ALL_FIGURES.__struct_fields__}
    assert len(set(told.values())) == len(told)
    await records.write(database, [(None, ended())], [Figures(CALL, FLAT.endpoint, "callee", ALL_FIGURES)])
    (leg,) = await rows(database, call_legs)
    kept = {name: value for name, value in leg.items() if name not in ("call_id", "identity", "role")}
    del kept["reported_reason"]
    assert sorted(kept.values()) == sorted(told.values())
    for name in ("buffer_target", "mouth_to_ear", "buffer_delay", "connection_time"):
        assert kept[f"{name}_s"] == told[name]
    for name in told.keys() & kept.keys():
        assert kept[name] == told[name]


async def test_uploading_twice_changes_nothing(database: Database) -> None:
    await records.write(database, [(None, ended())])
    batch = [claim(), claim("unseen", answered_at=4.0), claim("missed", role="caller", end_reason=EndReason.REJECTED)]
    await records.upload(database, FLAT.identity, batch)
    once = (await rows(database, call_records), await rows(database, call_legs))
    await records.upload(database, FLAT.identity, batch)
    assert (await rows(database, call_records), await rows(database, call_legs)) == once
    reports = {row["call_id"]: row for row in once[0] if row["reported_by"]}
    assert set(reports) == {"unseen", "missed"}
    unseen, missed = reports["unseen"], reports["missed"]
    assert (unseen["caller_id"], unseen["callee_id"], unseen["duration_s"]) == ("door", "flat", 5.0)
    assert (unseen["outcome"], missed["outcome"], missed["caller_id"]) == ("completed", "rejected", "flat")


async def test_one_batch_may_name_a_call_twice(database: Database) -> None:
    await records.upload(database, FLAT.identity, [claim("unseen"), claim("unseen")])
    assert len(await rows(database, call_records)) == 1


async def test_final_states_are_forgotten_after_their_time_and_records_never(database: Database) -> None:
    old_s = ended().created_at
    open_call = replace(connected(), call_id="open", created_at=old_s + KEEP_CALLS_S)
    await records.write(database, [(None, ended()), (None, open_call)])
    await records.forget_old(database)
    assert set(await records.load(database, [CALL])) == {CALL}
    assert await records.newest_s(database) == old_s + KEEP_CALLS_S
    await records.write(database, [(None, replace(ended(), call_id="new", created_at=old_s + KEEP_CALLS_S + 1.0))])
    await records.forget_old(database)
    assert await records.load(database, [CALL]) == {}
    assert len(await records.load_open(database)) == 1
    assert len(await rows(database, call_records)) == 2


async def test_a_failed_write_leaves_nothing_behind(database: Database) -> None:
    await records.write(database, [(None, connected())])
    clash = [(None, replace(ringing(), call_id=name)) for name in ("x", "y")]
    with pytest.raises(DatabaseError):
        await records.write(database, [(connected(), ended()), *clash])
    assert [call.phase for call in await records.load_open(database)] == [HubPhase.CONNECTED]
    assert await rows(database, call_records) == []


# ------------------------------------------------------------------------------------------------------- the file


async def test_what_makes_commits_durable_is_asserted(database: Database) -> None:
    async with database.transaction() as connection:
        for pragma, expected in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == expected


async def test_the_file_is_for_its_owner_only(database: Database) -> None:
    assert database.path.stat().st_mode & 0o077 == 0


async def test_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    await database.open()
    async with database.transaction() as connection:
        await connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA + 1}")
    await database.close()
    with pytest.raises(DatabaseError, match="newer"):
        await database.open()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"this is no database " * 1000)
    with pytest.raises(DatabaseError, match=r"hub\.db: file is not a database"):
        await Database(url(tmp_path)).open()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = path_of(url(tmp_path))
    with claimed(path), pytest.raises(DatabaseError, match="in use"), claimed(path):
        pass
    with claimed(path):
        pass


@pytest.mark.parametrize("url", ["postgresql://hub:secret@db/hub", "mysql://hub:secret@db/hub", "secret", "://secret"])
def test_a_url_of_neither_kind_is_refused_and_its_password_not_told(url: str) -> None:
    with pytest.raises(DatabaseError, match=r"hub\.database_url") as refused:
        Database(url)
    assert "secret" not in str(refused.value)


async def test_a_report_that_came_before_the_call_does_not_make_a_second_record(database: Database) -> None:
    """Dialled and hung up at once: the upload may overtake the transaction that makes the call known."""
    early = claim(role="caller", peer_id="flat", end_reason=EndReason.CANCELLED)
    await records.upload(database, DOOR.identity, [early])
    await records.upload(database, DESK.identity, [claim("other"), claim(end_reason=EndReason.BUSY)])
    call = ended()
    await records.write(database, [(None, ringing()), (ringing(), call)])
    own = [(row["call_id"], row["reported_by"]) for row in await rows(database, call_records)]
    assert sorted(own) == [(CALL, ""), (CALL, DESK.identity), ("other", DESK.identity)]
    (leg,) = [row for row in await rows(database, call_legs) if row["identity"] == DOOR.identity]
    assert (leg["role"], leg["reported_reason"]) == ("caller", "cancelled")
