"""What administrators see of calls and doors on the page: page by page, filtered, as a sheet."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from playwright.async_api import Browser, Download, Page, expect

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from intercomd.hub.storage.tables import call_parties, call_records, door_openings
from tests.e2e.administrators import made
from tests.e2e.hub_clients import household, settings
from tests.e2e.page.admin_scene import IN_THE_OFFICE, REFUSED, hears, signed_in, visit
from tests.e2e.page.witness import Witness

pytestmark = IN_THE_OFFICE
CALLS, OPENINGS = 45, 25
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
HOUR_S = 3600.0


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubServer]:
    """After a week of calls, one every three hours before yesterday's noon, every third of them missed and the fifth
    one cut off; and after a day of attempts at a door."""
    async with HubServer(settings(tmp_path_factory.mktemp("hub")), FakeJournal()) as server:
        for name in ("door", "flat", "=desk"):
            await made(server, "add-station", name)
        calls = [call(number) for number in range(CALLS)]
        parties = [
            {"identity": name, "call_id": one["call_id"], "created_at": one["created_at"]}
            for one in calls
            for name in (one["caller_id"], one["recipient_id"])
        ]
        async with server._database.transaction() as connection:
            await connection.execute(sa.insert(call_records), calls)
            await connection.execute(sa.insert(call_parties), parties)
            await connection.execute(sa.insert(door_openings), [opening(number) for number in range(OPENINGS)])
        yield server


def call(number: int) -> dict[str, Any]:
    at = NOON.timestamp() - number * 3 * HOUR_S
    missed = number % 3 == 0
    reason = "timeout" if missed else "peer_lost" if number == 5 else "completed"
    return {
        "call_id": f"call-{number:02}", "caller_id": "door", "recipient_id": "=desk" if number % 2 else "flat",
        "callee_id": None if missed else "=desk" if number % 2 else "flat", "created_at": at,
        "answered_at": None if missed else at + 5, "ended_at": at + 65, "duration_s": 0.0 if missed else 60.0,
        "outcome": "missed" if missed else "completed", "reason": reason,
    }  # fmt: skip


def opening(number: int) -> dict[str, Any]:
    outcome = "user_offline" if number == 3 else "opened"
    at = NOON.timestamp() - number * HOUR_S
    return {"command_id": f"open-{number:02}", "at": at, "who": "flat", "station_id": "door", "outcome": outcome}


async def keys(page: Page, part: str) -> list[str]:
    found: list[str] = await page.eval_on_selector_all(f"#{part} li", "(rows) => rows.map((row) => row.dataset.key)")
    return found


async def test_more_and_more_until_there_are_no_more(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with signed_in(chromium, witness, hub, "records") as page:
        more = page.locator('[data-key="more-calls"]')
        for shown in (20, 40, CALLS):
            await expect(page.locator("#calls li")).to_have_count(shown)
            if shown < CALLS:
                await more.click()
        await hears(page, "5 more are shown")
        await expect(more).to_be_hidden()
        assert await keys(page, "calls") == [f"call-{number:02}" for number in range(CALLS)]
        assert await page.evaluate("document.activeElement.dataset.key") == "call-40", "the first of the new ones"


async def test_a_call_says_how_it_went_and_only_a_fault_is_red(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    async with signed_in(chromium, witness, hub, "records", timezone_id="UTC") as page:
        rows = {key: page.locator(f'#calls [data-key="{key}"]') for key in ("call-00", "call-05")}
        day = f"{NOON.day} {NOON:%b}".replace("Sep", "Sept")
        when = "Yesterday 12:00" if NOON.date() == (datetime.now(UTC) - timedelta(days=1)).date() else f"{day} 12:00"
        await expect(rows["call-00"].locator(".sub")).to_have_text(f"{when} · Missed · nobody answered")
        await expect(rows["call-00"]).to_have_attribute("data-missed", "false")
        await expect(rows["call-05"]).to_contain_text("Talked · 1:00 · a connection was lost and did not come back")
        await expect(rows["call-05"]).to_have_attribute("data-missed", "true")


async def test_the_sheet_holds_what_was_filtered(
    hub: HubServer, chromium: Browser, witness: Witness, tmp_path: Path
) -> None:
    async with signed_in(chromium, witness, hub, "records", timezone_id="Asia/Shanghai") as page:
        await page.fill("[name=from]", f"{NOON:%Y-%m-%d}")
        await page.fill("[name=to]", f"{NOON:%Y-%m-%d}")
        await page.select_option("[name=party]", "=desk")
        await page.click("#view [type=submit]")
        # Noon is 20 o'clock there, so its day began at 16 o'clock of the day before: calls 0 to 6, the odd ones.
        await expect(page.locator("#calls li")).to_have_count(3)
        assert await keys(page, "calls") == ["call-01", "call-03", "call-05"]
        await page.select_option("[name=outcome]", "completed")
        await page.click("#view [type=submit]")
        await expect(page.locator("#calls li")).to_have_count(2)
        await expect(page.locator("[name=party]")).to_have_value("=desk")
        async with page.expect_download() as waiting:
            await page.click("#csv")
        download = await waiting.value
        assert download.suggested_filename == "calls.csv"
        await download.save_as(tmp_path / "calls.csv")
        sheet = (tmp_path / "calls.csv").read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(sheet)))
        assert [row["call_id"] for row in rows] == ["call-01", "call-05"]
        assert {row["recipient"] for row in rows} == {"'=desk"}, "a name is no formula"


async def test_a_sheet_is_not_a_refusal(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    witness.excused.append(f"{REFUSED}401")
    async with signed_in(chromium, witness, hub, "records") as page:
        saved: list[Download] = []
        page.on("download", lambda download: saved.append(download))
        await page.context.clear_cookies()
        await page.click("#csv")
        await expect(page.locator(".gate .notice")).to_contain_text("Your session has ended")
        assert saved == []


async def test_nothing_fits_the_filter(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with signed_in(chromium, witness, hub, "records") as page:
        await page.select_option("[name=outcome]", "rejected")
        await page.click("#view [type=submit]")
        await expect(page.locator("#calls")).to_have_text("No such calls.")
        await expect(page.locator("#plots")).to_have_text("No figures of such calls.")


async def test_who_had_which_door_opened(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    token = await made(hub, "add-station", "stranger")
    async with household(hub.port, {"stranger": token}) as people:
        reply = await (await people.join("stranger")).call("open_door", {"stationId": "door"})
        assert not reply["ok"]
    async with signed_in(chromium, witness, hub, "records") as page:
        first = page.locator("#openings li").first
        await expect(first.locator(".name")).to_have_text("stranger → door")
        await expect(first.locator(".sub")).to_contain_text("Refused: no right to")
        await expect(first).to_have_attribute("data-missed", "true")
        await expect(page.locator('[data-key="open-03"]')).to_contain_text("The station was not connected")
        await expect(page.locator('[data-key="open-04"]')).to_contain_text("Opened")
        await page.click('[data-key="more-openings"]')
        await expect(page.locator("#openings li")).to_have_count(OPENINGS + 1)
        assert (await keys(page, "openings"))[1:] == [f"open-{number:02}" for number in range(OPENINGS)]
        await visit(page, "board")
