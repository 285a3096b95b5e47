"""Records, plots and doors as an administrator's browser gets them, from the real hub."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from intercomd.hub.storage.tables import call_records, door_openings
from tests.e2e.administrators import Console, administrator
from tests.e2e.hub_clients import enrol, household, settings, talk


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    """After one call that was talked, one that rang nowhere, and an attempt at a door."""
    config = settings(tmp_path)
    tokens = await enrol(config, "door", "flat", "desk")
    async with HubServer(config, FakeJournal()) as hub:
        async with household(hub.port, tokens) as people:
            door, flat = await people.join("door"), await people.join("flat")
            await talk(door, flat, "talked", "flat")
            heard = {"mos": 4.2, "audioPacketsLost": 1, "audioPacketsReceived": 99, "mouthToEar": 0.1}
            await flat.call("call_metrics", {"callId": "talked", "metrics": heard})
            await door.call("end_call", {"callId": "talked"})
            await flat.call("initiate_call", {"callId": "away", "recipientId": "desk"})
            await flat.call("open_door", {"stationId": "door"})
        async with administrator(hub) as console:
            console.hub = hub  # type: ignore[attr-defined]
            yield console


async def test_records_by_filter_and_page(console: Console) -> None:
    page = await console.get("/api/records?limit=1")
    assert [record["callId"] for record in page["records"]] == ["away"]
    rest = await console.get(f"/api/records?limit=1&cursor={page['cursor']}")
    (talked,) = rest["records"]
    assert "cursor" not in rest
    assert (talked["outcome"], talked["reason"], talked["calleeId"]) == ("completed", "completed", "flat")
    (leg,) = talked["legs"]
    assert (leg["identity"], leg["metrics"]["mos"]) == ("flat", 4.2)
    missed = await console.get("/api/records?outcome=missed&outcome=rejected&party=desk&from=2020-01-01")
    assert [record["callId"] for record in missed["records"]] == ["away"]
    assert (await console.get("/api/records?to=2020-01-01"))["records"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("outcom=missed", "outcom"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("from=then", "from"),
        ("limit=1&limit=2", "once"),
    ],
)
async def test_a_filter_with_a_mistake_shows_nothing(console: Console, query: str, words: str) -> None:
    status, body = await console.ask("GET", f"/api/records?{query}")
    assert (status, body["code"]) == (400, "bad_request")
    assert words in body["message"]


async def test_all_of_them_as_a_sheet(console: Console) -> None:
    async with console.http.get(f"{console.origin}/api/records.csv?bom=true") as response:
        assert (response.status, response.content_type, response.charset) == (200, "text/csv", "utf-8")
        assert "attachment" in response.headers["Content-Disposition"]
        raw = await response.read()
    assert raw.startswith(b"\xef\xbb\xbfcall_id,")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert [(row["call_id"], row["outcome"], row["callee_mos"]) for row in rows] == [
        ("away", "missed", ""), ("talked", "completed", "4.2"),
    ]  # fmt: skip


async def test_a_long_sheet_is_whole_and_calls_go_on_meanwhile(console: Console) -> None:
    hub: HubServer = console.hub  # type: ignore[attr-defined]
    row = {"reported_by": "", "caller_id": "door", "recipient_id": "flat", "ended_at": 9.0, "duration_s": 0.0,
           "outcome": "missed", "reason": "timeout"}  # fmt: skip
    async with hub._database.transaction() as connection:
        rows = [{**row, "call_id": f"n{number}", "created_at": float(number)} for number in range(3000)]
        await connection.execute(call_records.insert(), rows)

    async def lines() -> int:
        async with console.http.get(f"{console.origin}/api/records.csv?to=2020-01-01") as response:
            return len((await response.text()).splitlines())

    whole, states = await asyncio.gather(lines(), console.get("/api/records?limit=1"))
    assert whole == 1 + 3000
    assert len(states["records"]) == 1


async def test_points_for_plots_and_attempts_at_doors(console: Console) -> None:
    (point,) = (await console.get("/api/records/quality?station=flat"))["points"]
    assert (point["callId"], point["mos"], point["lossRatio"], point["mouthToEar"]) == ("talked", 4.2, 0.01, 0.1)
    (attempt,) = (await console.get("/api/doors/openings?station=door&who=flat"))["openings"]
    assert attempt["outcome"] == "not_allowed"
    assert (await console.get("/api/doors/openings?outcome=opened"))["openings"] == []


async def test_attempts_at_doors_by_page(console: Console) -> None:
    hub: HubServer = console.hub  # type: ignore[attr-defined]
    row = {"at": 5.0, "who": "tenant", "station_id": "gate", "outcome": "opened", "reason": ""}
    async with hub._database.transaction() as connection:
        await connection.execute(door_openings.insert(), [{**row, "command_id": f"{number:02}"} for number in range(5)])
    seen: list[str] = []
    cursor = ""
    while True:
        page = await console.get(f"/api/doors/openings?limit=2&to=2020-01-01&cursor={cursor}")
        seen += [opening["commandId"] for opening in page["openings"]]
        if "cursor" not in page:
            break
        cursor = page["cursor"]
    assert seen == ["04", "03", "02", "01", "00"]
