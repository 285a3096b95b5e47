"""Who administers on the page: one-time links, passwords, sessions that end, and a hub that is away."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from tests.e2e.administrators import PASSWORD, made
from tests.e2e.hub_clients import settings
from tests.e2e.page.admin_scene import (
    IN_THE_OFFICE,
    REFUSED,
    done,
    hears,
    press,
    put_away,
    send,
    shows,
    signed_in,
    visit,
    visitor,
)
from tests.e2e.page.witness import Witness

pytestmark = IN_THE_OFFICE
API = "**/api/**"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubServer]:
    """One for all, with a station."""
    async with HubServer(settings(tmp_path_factory.mktemp("hub")), FakeJournal()) as server:
        await made(server, "add-station", "door")
        yield server


async def chooses(page: Page, link: str) -> None:
    """Somebody follows a password link."""
    await page.goto(link)
    await expect(page.locator(".gate h1")).to_have_text("Choose a password")
    await page.fill("[name=password]", PASSWORD)
    await page.click("[type=submit]")


async def signs_in(page: Page, name: str) -> None:
    await page.fill("[name=name]", name)
    await page.fill("[name=password]", PASSWORD)
    await page.click("[type=submit]")


async def test_another_administrator_by_a_link_that_works_once(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    witness.excused.append(f"{REFUSED}403")
    async with signed_in(chromium, witness, hub, "account") as page, visitor(chromium, witness) as other:
        await page.click("text=Add an administrator")
        await page.fill("dialog [name=name]", "office")
        await page.click("dialog [type=submit]")
        await expect(page.locator("dialog .qr path")).to_have_count(2)
        await expect(page.locator("dialog")).to_contain_text("Works once, until tomorrow ")
        link = await page.inner_text("dialog .secret")
        await done(page)
        row = page.locator('[data-key="administrator-office"]')
        await expect(row).to_contain_text("Has not set a password yet")
        await chooses(other, link)
        await shows(other, "board")
        await expect(other.locator("#who")).to_have_text("office")
        async with visitor(chromium, witness) as third:
            await chooses(third, link)
            await expect(third.locator("[role=alert]")).to_contain_text("already used, or it is too old")
            await third.click("text=Sign in with a password instead")
            await signs_in(third, "office")
            await shows(third, "board")
        await visit(page, "board")
        await visit(page, "account")
        await expect(row).to_contain_text("Browsers signed in: 2")


async def test_a_forgotten_password_is_chosen_anew_and_an_administrator_removed(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    witness.excused.append(f"{REFUSED}401")
    async with signed_in(chromium, witness, hub, "account") as page, visitor(chromium, witness) as other:
        await made(hub, "add-admin", "deputy")
        await visit(page, "board")
        await visit(page, "account")
        await press(page, "reset-deputy")
        link = await page.inner_text("dialog .secret")
        await done(page)
        await chooses(other, link)
        await shows(other, "board")
        await press(page, "gone-deputy")
        await send(page)
        await hears(page, "deputy is removed")
        await expect(page.locator('[data-key="administrator-deputy"]')).to_have_count(0)
        assert await page.evaluate("document.activeElement.id") == "title", "where readers go on: the button is gone"
        await other.click('#places a[href="#people"]')
        await expect(other.locator(".gate .notice")).to_have_text("Your session has ended. Sign in again to go on.")


async def test_a_wrong_present_password_is_told_beside_it(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    witness.excused.append(f"{REFUSED}403")
    async with signed_in(chromium, witness, hub, "account") as page:
        for present, words in (("wrong", "The present password is wrong."), (PASSWORD, "")):
            await page.fill("[name=current]", present)
            await page.fill("#password [name=password]", "another password")
            await page.click("#password [type=submit]")
            await expect(page.locator("#password [role=alert]")).to_have_text(words)
        await hears(page, "The password is changed")


async def test_a_session_that_ended_asks_to_sign_in_and_goes_on_there(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    witness.excused.append(f"{REFUSED}401")
    async with signed_in(chromium, witness, hub, "people") as page:
        name = await page.inner_text("#who")
        await press(page, "rename-door")
        await page.context.clear_cookies()
        await page.click("dialog [type=submit]")
        await put_away(page)
        await expect(page.locator(".gate .notice")).to_contain_text("Your session has ended")
        await expect(page.locator("#places")).to_be_hidden()
        assert await page.evaluate("document.activeElement.name") == "name"
        await page.click("#language")
        await expect(page.locator(".gate .notice")).to_contain_text("您的登录已过期")
        await signs_in(page, name)
        await shows(page, "people")


async def test_a_hub_that_is_away_is_told_and_nothing_old_passes_for_new(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    witness.excused.append("Failed to load resource: net::ERR_FAILED")
    async with signed_in(chromium, witness, hub) as page:
        await page.context.route(API, lambda route: route.abort())
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(page.locator("#stale[role=status]")).to_contain_text("cannot be reached")
        await expect(page.locator("#stale")).to_contain_text("What you see is of ")
        await page.click('#places a[href="#people"]')
        await expect(page.locator("#view [role=alert]")).to_contain_text("cannot be reached")
        await page.click("#language")
        await expect(page.locator("#view [role=alert]")).to_contain_text("无法连接")
        await page.click("#language")
        await page.context.unroute(API)
        await page.click("#view button")
        await expect(page.locator('li[data-key="door"]')).to_be_visible()


async def test_a_dialog_keeps_the_focus_and_gives_it_back(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with signed_in(chromium, witness, hub, "people") as page:
        row = page.locator('[data-key="open-door"]')
        await row.focus()
        await page.keyboard.press("Enter")
        await page.locator('[data-key="policy-door"]').focus()
        await page.keyboard.press("Enter")
        # Past its end Tab goes to the browser's own buttons, which the page sees as its body.
        inside = "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        for _ in range(14):
            await page.keyboard.press("Tab")
            assert await page.evaluate(inside)
        await page.keyboard.press("Escape")
        await put_away(page)
        assert await page.evaluate("document.activeElement.dataset.key") == "policy-door"


async def test_too_many_attempts_are_told(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    """The last test of this hub: its address may not try again for a while."""
    witness.excused.extend(f"{REFUSED}{status}" for status in (403, 429))
    async with visitor(chromium, witness) as page:
        await page.goto(f"http://127.0.0.1:{hub.port}/admin")
        await page.fill("[name=name]", "office")
        await page.fill("[name=password]", "wrong wrong")
        alert = page.locator(".gate [role=alert]")
        for _ in range(5):
            await page.click("[type=submit]")
            await expect(page.locator("[type=submit]")).to_be_enabled()
            await expect(alert).to_have_text("The name or the password is wrong.")
        await page.click("[type=submit]")
        await expect(alert).to_have_text("Too many attempts. Wait half a minute, then try again.")
