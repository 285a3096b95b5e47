"""What an administrator does with stations on the page acts at the hub at once: codes, tokens, names, quiet times."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.people.directory import Busy, Policy
from intercomd.hub.server import HubServer
from intercomd.ids import IdentityId
from tests.e2e.administrators import PASSWORD, made
from tests.e2e.hub_clients import Client, household, settings
from tests.e2e.page.admin_scene import (
    IN_THE_OFFICE,
    REFUSED,
    done,
    hears,
    press,
    put_away,
    send,
    signed_in,
    visit,
    visitor,
)
from tests.e2e.page.witness import Witness

pytestmark = IN_THE_OFFICE
FAR = {"timezone_id": "Asia/Shanghai"}
"""Not where the tests run: eight hours from the hub."""


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubServer]:
    """One for all: each test has a station of its own there."""
    config = settings(tmp_path_factory.mktemp("hub"), time_zone="UTC")
    async with HubServer(config, FakeJournal()) as server:
        yield server


@asynccontextmanager
async def connected(hub: HubServer, name: str) -> AsyncIterator[tuple[Client, str]]:
    """A new station's socket, and its token."""
    token = await made(hub, "add-station", name)
    async with household(hub.port, {name: token}) as people:
        yield await people.join(name), token


async def knocks(hub: HubServer, name: str, token: str) -> str:
    """What the hub says to somebody with this token: "" if it lets them in."""
    client = Client()
    refusal = await client.connect(hub.port, {"token": token, "instance": f"{name}-2", "protocol": 1})
    await client.close()
    return "" if refusal is None else str(refusal["data"]["code"])


async def redeemed(origin: str, code: str, **more: str) -> tuple[int, Any]:
    form = {"code": code, **more}
    async with aiohttp.ClientSession() as http, http.post(f"{origin}/api/pair", json=form, ssl=False) as answer:
        return answer.status, await answer.json()


def day(moment: datetime) -> str:
    """As British English writes it (CLDR): the one month that is not cut to three letters is September."""
    return f"{moment.day} {moment:%b}".replace("Sep", "Sept")


def state(page: Page, name: str) -> Any:
    return page.locator(f'li[data-key="{name}"] .state')


# ------------------------------------------------------------------------------------------------------------- codes


async def test_digits_to_type_with_the_fingerprint_to_compare(
    tmp_path_factory: pytest.TempPathFactory, chromium: Browser, witness: Witness
) -> None:
    folder = tmp_path_factory.mktemp("secure")
    local = settings(folder, tls="local", tls_dir=str(folder / "tls"))
    async with HubServer(local, FakeJournal()) as hub, visitor(chromium, witness, ignore_https_errors=True) as page:
        origin = f"https://127.0.0.1:{hub.port}"
        await page.goto(f"{origin}/admin#set-up={await made(hub, 'set-up')}")
        await page.fill("[name=name]", "root")
        await page.fill("[name=password]", PASSWORD)
        await page.click("[type=submit]")
        await expect(page.locator("#nobody")).to_contain_text("Begin with a station")
        await made(hub, "add-station", "gate")
        await visit(page, "people")
        await press(page, "digits-gate")
        code = await page.locator("dialog .digits").text_content() or ""
        assert code.isdecimal()
        assert len(code) == 8
        address, fingerprint = await page.locator("dialog .secret").all_inner_texts()
        assert (address, fingerprint) == (origin, hub._stewardship.authority.fingerprint)
        await expect(page.locator("dialog")).to_contain_text("Works once, until ")
        status, _ = await redeemed(origin, code, fingerprint=fingerprint[:-2] + "00")
        assert status == 403, "another certificate than the one that is shown here"
        status, answer = await redeemed(origin, code, fingerprint=fingerprint)
        assert (status, answer.get("station")) == (200, "gate")
        await done(page)


async def test_no_digits_where_there_is_nothing_to_compare(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    witness.excused.append(f"{REFUSED}409")
    await made(hub, "add-station", "plain")
    async with signed_in(chromium, witness, hub, "people") as page:
        await press(page, "digits-plain")
        await hears(page, "needs a certificate")
        await put_away(page)


async def test_a_code_waits_until_its_day_and_can_be_taken_back(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    await made(hub, "add-station", "cellar")
    async with signed_in(chromium, witness, hub, "people", timezone_id="UTC") as page:
        await press(page, "pair-cellar")
        line = await page.inner_text("dialog .secret")
        ends = datetime.now(UTC) + timedelta(days=7)
        await expect(page.locator("dialog")).to_contain_text(f"until {day(ends)} ")
        await done(page)
        await expect(state(page, "cellar")).to_contain_text(f"A code waits until {day(ends)} ")
        await press(page, "unpair-cellar")
        await hears(page, "no longer works")
        await expect(state(page, "cellar")).not_to_contain_text("A code waits")
        status, _ = await redeemed(page.url.partition("/admin")[0], line.split()[2])
        assert status == 403


# ------------------------------------------------------------------------------------------------------------ tokens


async def test_a_new_token_works_beside_the_former_one(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with connected(hub, "lift") as (socket, former), signed_in(chromium, witness, hub, "people") as page:
        await press(page, "rotate-lift")
        await page.click("dialog [type=submit]")
        token = await page.inner_text("dialog .secret")
        await expect(page.locator("dialog")).to_contain_text("The former token works until tomorrow ")
        await done(page)
        await expect(state(page, "lift")).to_contain_text("The former token works until tomorrow ")
        assert [await knocks(hub, "lift", one) for one in (former, token)] == ["", ""]
        assert not socket.gone.is_set()


async def test_a_former_token_is_ended_at_once(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with connected(hub, "attic") as (socket, former), signed_in(chromium, witness, hub, "people") as page:
        await press(page, "rotate-attic")
        await page.check("dialog [name=now]")
        await page.click("dialog [type=submit]")
        token = await page.inner_text("dialog .secret")
        await expect(page.locator("dialog")).to_contain_text("The former token no longer works")
        await done(page)
        await socket.gone.wait()
        assert [await knocks(hub, "attic", one) for one in (former, token)] == ["unauthorised", ""]


async def test_a_station_is_unpaired(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with connected(hub, "yard") as (socket, token), signed_in(chromium, witness, hub, "people") as page:
        await expect(state(page, "yard")).to_contain_text("Connected · Paired")
        await press(page, "revoke-yard")
        await expect(page.locator("dialog")).to_contain_text("It must be paired again")
        await page.click("text=Cancel")
        await put_away(page)
        assert not socket.gone.is_set(), "thought better of it"
        await press(page, "revoke-yard")
        await send(page)
        await hears(page, "yard is unpaired")
        await socket.gone.wait()
        await expect(state(page, "yard")).to_contain_text("Not paired")
        assert await knocks(hub, "yard", token) == "unauthorised"


async def test_a_station_is_kept_out_and_let_in_again(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with connected(hub, "shed") as (socket, token), signed_in(chromium, witness, hub, "people") as page:
        await press(page, "ban-shed")
        await send(page)
        await hears(page, "shed is kept out")
        await socket.gone.wait()
        await expect(state(page, "shed")).to_contain_text("Kept out")
        assert await knocks(hub, "shed", token) == "banned"
        await visit(page, "board")
        await expect(page.locator('#board [data-key="shed"]')).to_have_attribute("data-state", "banned")
        await visit(page, "people")
        await press(page, "unban-shed")
        await hears(page, "may come in again")
        assert await knocks(hub, "shed", token) == ""


# ------------------------------------------------------------------------------------------- names and quiet times


async def test_another_name_and_back(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    await made(hub, "add-station", "d1")
    async with signed_in(chromium, witness, hub, "people") as page:
        await press(page, "rename-d1")
        await page.fill("dialog [name=name]", "Front door")
        await send(page)
        await hears(page, "Saved")
        await expect(page.locator('li[data-key="d1"] .name')).to_have_text("Front door d1")
        focused = "document.activeElement.dataset.key"
        assert await page.evaluate(focused) == "rename-d1", "readers go on where they were"
        await visit(page, "board")
        await expect(page.locator('#board [data-key="d1"] .name')).to_have_text("Front door")
        await visit(page, "people")
        await press(page, "rename-d1")
        await expect(page.locator("dialog [name=name]")).to_have_value("Front door")
        await page.fill("dialog [name=name]", " ")
        await send(page)
        await expect(page.locator('li[data-key="d1"] .name')).to_have_text("d1")


async def test_quiet_times_are_those_that_were_chosen(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    def policy() -> Policy:
        return hub._registry.directory.policy(IdentityId("desk"))

    end = datetime.now(UTC).replace(hour=1, minute=30, second=0, microsecond=0) + timedelta(days=4)
    async with connected(hub, "desk"), signed_in(chromium, witness, hub, "people", **FAR) as page:
        await press(page, "policy-desk")
        await page.fill("dialog [name=until]", f"{end:%Y-%m-%d}T09:30")
        await page.fill("dialog [name=from]", "22:15")
        await page.fill("dialog [name=to]", "07:05")
        await page.select_option("dialog [name=busy]", "queue")
        await send(page)
        words = f"Do not disturb until {day(end)} 09:30 · Quiet 22:15–07:05 · Callers wait"
        await expect(state(page, "desk")).to_contain_text(words)
        assert policy() == Policy(end.timestamp(), 22 * 60 + 15, 7 * 60 + 5, Busy.QUEUE)
        await visit(page, "board")
        await expect(page.locator('#board [data-key="desk"]')).to_have_attribute("data-state", "quiet")
        await visit(page, "people")
        await press(page, "policy-desk")
        shown = [await page.input_value(f"dialog [name={name}]") for name in ("until", "from", "to", "busy")]
        assert shown == [f"{end:%Y-%m-%d}T09:30", "22:15", "07:05", "queue"]
        for name in ("until", "from", "to"):
            await page.fill(f"dialog [name={name}]", "")
        await page.select_option("dialog [name=busy]", "refuse")
        await send(page)
        await expect(state(page, "desk")).to_have_text("Connected · Paired")
        assert policy() == Policy()


async def test_half_of_quiet_hours_is_refused_with_a_reason(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    witness.excused.append(f"{REFUSED}400")
    await made(hub, "add-station", "half")
    async with signed_in(chromium, witness, hub, "people") as page:
        await press(page, "policy-half")
        await page.fill("dialog [name=from]", "22:00")
        await page.click("dialog [type=submit]")
        await expect(page.locator("dialog [role=alert]")).to_contain_text("The hub does not take that")
        await page.fill("dialog [name=to]", "06:00")
        await send(page)
        await expect(state(page, "half")).to_contain_text("Quiet 22:00–06:00")


async def test_a_group_is_named_when_it_is_made(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    await made(hub, "add-station", "f1")
    async with signed_in(chromium, witness, hub, "groups") as page:
        await page.click("text=Add a group")
        await page.fill("[name=id]", "stairs")
        await page.fill("[name=name]", "Left stairs")
        await expect(page.locator("[name=each]")).to_be_hidden()
        await page.select_option("fieldset select", "f1")
        await send(page)
        await expect(page.locator('[data-key="stairs"] .name')).to_have_text("Left stairs stairs")
        await expect(page.locator('[data-key="stairs"] .sub')).to_have_text("All at once: f1.")
        await visit(page, "people")
        await expect(state(page, "f1")).to_contain_text("In: Left stairs")
