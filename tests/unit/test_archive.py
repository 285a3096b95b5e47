"""Records as administrators ask for them: what a filter lets through, pages that lose nothing, the sheet."""

import csv
import io
import random
from typing import Any

import pytest
from msgspec.structs import replace

from intercomd.core.legs import Leg, LegState
from intercomd.core.outcome import Outcome
from intercomd.core.vocabulary import CallRecord, EndReason, Metrics
from intercomd.hub.history import archive, records, sheet
from intercomd.hub.history.archive import Filter, RecordReport
from intercomd.hub.history.records import Figures
from intercomd.hub.storage.database import Database
from intercomd.hub.web import queries
from intercomd.hub.web.queries import Moment
from intercomd.hub.web.routes import Query
from intercomd.ids import IdentityId
from tests.unit.databases import database as database
from tests.unit.hub_calls import DESK, DOOR, FLAT, ended

HEARD = Metrics(mos=4.2, audio_packets_lost=1, audio_packets_received=99, jitter=0.003, mouth_to_ear=0.09)


def call(call_id: str, at_s: float = 0.0, talk_s: float | None = 4.0, reason: EndReason = EndReason.COMPLETED) -> Any:
    """Of the door to the flat; without `talk_s` nobody answered."""
    base = replace(ended(), call_id=call_id, created_at=at_s, end_reason=reason)
    if talk_s is None:
        return replace(base, answered_at=None, ended_at=at_s + 60.0, callees=(Leg(FLAT, LegState.LEFT),))
    return replace(base, answered_at=at_s + 1.0, ended_at=at_s + 1.0 + talk_s)


async def found(database: Database, asked: Filter, limit: int = 50) -> list[str]:
    return [record.call_id for record in (await archive.find(database, asked, limit)).records]


async def test_what_a_filter_lets_through(database: Database) -> None:
    group = replace(call("group", 400.0), members=(IdentityId("flat"), IdentityId("kitchen")))
    await records.write(
        database,
        [
            (None, call("short", 100.0, 2.0)),
            (None, call("long", 200.0, 90.0)),
            (None, call("missed", 300.0, None, EndReason.TIMEOUT)),
            (None, group),
        ],
    )
    await records.upload(database, DESK.identity, [claim("own", 500.0)])
    assert await found(database, Filter()) == ["own", "group", "missed", "long", "short"]
    assert await found(database, Filter(since_s=200.0, until_s=400.0)) == ["missed", "long"]
    assert await found(database, Filter(party=IdentityId("kitchen"))) == ["group"]
    assert await found(database, Filter(party=DESK.identity)) == ["own"]
    assert await found(database, Filter(party=FLAT.identity)) == ["group", "missed", "long", "short"]
    assert await found(database, Filter(station=FLAT.identity)) == ["group", "long", "short"], "it only rang there"
    assert await found(database, Filter(outcomes=(Outcome.MISSED,))) == ["own", "missed"]
    assert await found(database, Filter(reasons=(EndReason.TIMEOUT, EndReason.CARD_MISSING))) == ["own", "missed"]
    assert await found(database, Filter(min_duration_s=3.0)) == ["group", "long"]
    assert await found(database, Filter(party=FLAT.identity, min_duration_s=50.0, outcomes=(Outcome.COMPLETED,))) == [
        "long"
    ]


def claim(call_id: str, at_s: float) -> CallRecord:
    return CallRecord(call_id, "door", "caller", EndReason.CARD_MISSING, at_s, at_s + 1.0, metrics=HEARD)


async def test_pages_lose_nothing_and_repeat_nothing_while_records_are_added(database: Database) -> None:
    """Many of one moment, so that the moment alone cannot say where a page ended."""
    dice = random.Random(7)
    written = [call(f"c{number}", float(dice.randrange(4)) / 3.0) for number in range(40)]
    await records.write(database, [(None, one) for one in written])
    seen: list[RecordReport] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await archive.find(database, Filter(), 7, cursor)
        seen += page.records
        cursor = page.cursor
        await records.write(database, [(None, call(f"new{len(seen)}", 1000.0))])
    assert sorted(record.call_id for record in seen) == sorted(one.call_id for one in written)
    assert [record.created_at for record in seen] == sorted((record.created_at for record in seen), reverse=True)
    with pytest.raises(ValueError, match="cursor"):
        await archive.find(database, Filter(), 7, "somewhere")


async def test_a_record_comes_with_what_its_two_sides_measured(database: Database) -> None:
    figures = [
        Figures("c", FLAT.endpoint, "callee", HEARD),
        Figures("c", DOOR.endpoint, "caller", Metrics(mos=3.1)),
    ]
    await records.write(database, [(None, call("c"))], figures)
    await records.upload(database, DESK.identity, [claim("c", 3.0)])
    (report, own) = (await archive.find(database, Filter(), 9)).records
    assert (report.reported_by, report.legs) == ("desk", ()), "a report of another's call is not that call"
    assert [(leg.role, leg.identity, leg.metrics) for leg in own.legs] == [
        ("callee", "flat", HEARD),
        ("caller", "door", Metrics(mos=3.1)),
    ]


async def test_points_for_plots(database: Database) -> None:
    for number in range(3):
        legs = [
            Figures(f"c{number}", FLAT.endpoint, "callee", HEARD),
            Figures(f"c{number}", DOOR.endpoint, "caller", HEARD),
        ]
        await records.write(database, [(None, call(f"c{number}", float(number)))], legs)
    await records.write(database, [(None, call("silent", 9.0))])
    points = (await archive.quality(database, Filter(station=FLAT.identity), 2)).points
    assert [(point.at, point.identity) for point in points] == [(1.0, "flat"), (2.0, "flat")], "the newest, in order"
    assert (points[0].mos, points[0].loss_ratio, points[0].mouth_to_ear) == (4.2, 0.01, 0.09)
    assert len((await archive.quality(database, Filter())).points) == 6


NASTY = ['=HYPERLINK("http://x")', "+1", "-1", "@x", "\tx", 'a "b", c', "line\r\nbreak", "门口", "＝1", "plain", ""]


@pytest.mark.parametrize("name", NASTY)
def test_a_sheet_reads_back_and_carries_out_nothing(name: str) -> None:
    record = RecordReport("c", name, "flat", 0.0, 3.5, 2.25, "completed", "completed", answered_at=1.25)
    text = sheet.line(sheet.HEADER) + sheet.line(sheet.cells(record))
    assert text.count("\r\n") == (3 if "\r\n" in name else 2)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["caller"].removeprefix("'") == name
    assert not row["caller"].startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    assert (row["created_at"], row["duration_s"]) == ("1970-01-01T00:00:00.000Z", "2.25")
    assert (row["callee"], row["caller_mos"]) == ("", "")


def test_numbers_of_ours_are_no_formulas() -> None:
    assert sheet.line([-12.5, 3, None, 1e12, 0.1 + 0.2]) == "-12.5,3,,1000000000000.0,0.3\r\n"


async def test_the_sheet_has_all_records(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_PAGE", 3)
    await records.write(database, [(None, call(f"c{number}", float(number))) for number in range(10)])
    ids = [record.call_id async for record in archive.every(database, Filter(since_s=2.0))]
    assert ids == [f"c{number}" for number in range(9, 1, -1)]


ASKED = (
    Query("from", "", Moment), Query("outcome", "", Outcome, many=True), Query("limit", "", int), Query("party", ""),
    Query("bom", "", bool),
)  # fmt: skip


def test_parameters_are_read_as_they_are_described() -> None:
    assert queries.read({"from": "12.5", "limit": "7", "party": "a b", "bom": "1"}, ASKED) == {
        "from": 12.5, "limit": 7, "party": "a b", "bom": True,
    }  # fmt: skip
    assert queries.read({"from": "2026-11-23T20:00:00Z"}, ASKED) == {"from": 1795464000.0}
    assert queries.read({"from": "2026-11-23"}, ASKED) == {"from": 1795392000.0}
    assert queries.read({"outcome": "missed"}, ASKED) == {"outcome": (Outcome.MISSED,)}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"form": "1"}, "form: no such parameter; there are from, outcome"),
        ({"from": "yesterday"}, "from: Unix seconds"),
        ({"from": "9" * 400}, "from: Unix seconds"),
        ({"outcome": "lost" * 100}, "outcome: Invalid enum value"),
        ({"limit": "many"}, "limit: Expected `int`"),
    ],
)
def test_a_mistake_is_named_and_shows_nothing(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words) as told:
        queries.read(given, ASKED)
    assert len(str(told.value)) < 200
