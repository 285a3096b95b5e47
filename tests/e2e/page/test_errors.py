"""The guide's errors in words, with OK and a way to try again; and honesty about whether this device rings."""

import pytest
from playwright.async_api import Browser

from intercomd.demo.house import House
from intercomd.demo.page_scene import invite
from intercomd.demo.resident import Resident, browser, resident
from tests.e2e.page.conftest import INSECURE_HOST, RING_S, Open
from tests.e2e.page.scene import ON_THE_PAGE, Scene, add_station
from tests.e2e.page.witness import Witness

pytestmark = ON_THE_PAGE

NOTHING_BUT = ["clipboard-read"]
"""Granting one permission denies all others."""


async def error(person: Resident) -> tuple[str | None, str]:
    await person.see("#error")
    return await person.page.get_attribute("#error", "data-kind"), await person.page.inner_text("#error-text")


@pytest.mark.parametrize(("locale", "words"), [("en-GB", "Talking needs the microphone."), ("zh-CN", "需要麦克风权限")])
async def test_a_forbidden_microphone_on_calling(scene: Scene, open_page: Open, locale: str, words: str) -> None:
    tenant = await open_page("tenant", locale=locale, permissions=NOTHING_BUT)
    await tenant.see('#ready[data-state="denied"]')
    await tenant.call("flat")
    kind, text = await error(tenant)
    assert kind == "NotAllowedError"
    assert text.startswith(words)
    assert (await scene.house.status("flat"))["phase"] == "idle", "nobody is rung by somebody who cannot talk"
    await tenant.context.grant_permissions(["microphone"])
    await tenant.click("error-retry")
    await scene.phase("flat", "ringing")
    await tenant.hang_up()
    await scene.phase("flat", "idle")


async def test_a_forbidden_microphone_on_answering_leaves_the_call_ringing(
    scene: Scene, open_page: Open, witness: Witness
) -> None:
    tenant = await open_page("tenant", permissions=NOTHING_BUT)
    await tenant.see('#ready[data-state="denied"]')
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    await tenant.answer()
    assert (await error(tenant))[0] == "NotAllowedError"
    assert (await scene.house.status("door"))["phase"] == "ringing"
    assert witness.names("accept_call", "reject_call") == []
    await tenant.context.grant_permissions(["microphone"])
    await tenant.click("error-retry")
    await tenant.phase("connected")
    await tenant.hang_up()
    await scene.phase("door", "idle")


async def test_no_microphone_at_all(house: House, scene: Scene) -> None:
    async with browser(None) as chromium, resident(chromium, await invite(house, "tenant")) as tenant:
        await tenant.call("flat")
        kind, text = await error(tenant)
        assert (kind, text) == ("NotFoundError", "No microphone was found. Plug one in, then try again.")
        await tenant.click("error-ok")
        await tenant.see("#veil", state="hidden")


async def test_a_hub_that_is_away(scene: Scene, tenant: Resident, witness: Witness) -> None:
    witness.excused += ["WebSocket connection to", "Failed to load resource"]
    async with scene.without_hub():
        await tenant.see('#ready[data-state="offline"]')
        await tenant.call("flat")
        assert (await error(tenant))[0] == "NetworkError"
    await tenant.see('#ready[data-state="yes"]', state="attached")
    assert "initiate_call" not in witness.names("initiate_call"), "a press is never carried out late"
    assert (await scene.house.status("flat"))["phase"] == "idle"
    await scene.see("flat", lambda status: status["link"]["state"] == "registered")
    await tenant.click("error-retry")
    await scene.phase("flat", "ringing")
    await tenant.hang_up()
    await scene.phase("flat", "idle")


async def test_a_station_that_is_not_connected(house: House, tenant: Resident) -> None:
    await add_station(house, "attic")
    await tenant.reload()
    await tenant.see('#stations li[data-online="false"]:has-text("attic")')
    await tenant.call("attic")
    assert await error(tenant) == ("NetworkError", "attic is not connected at the moment.")


async def test_nobody_answers(scene: Scene, tenant: Resident) -> None:
    await tenant.call("flat")
    await scene.phase("flat", "ringing")
    await tenant.see("#error", RING_S + 5)
    assert await error(tenant) == ("TimeoutError", "flat did not answer in time.")
    await tenant.page.keyboard.press("Escape")
    await tenant.see("#veil", state="hidden")


async def test_an_address_that_is_not_secure_is_told(house: House, chromium: Browser, witness: Witness) -> None:
    link = (await invite(house, "dora")).replace("127.0.0.1", INSECURE_HOST)
    context = await chromium.new_context(viewport={"width": 390, "height": 844}, locale="en-GB")
    await witness.watch(context)
    page = await context.new_page()
    await page.goto(link)
    await page.click("#sign-in")
    await page.wait_for_selector('#ready[data-state="insecure"]')
    assert "not secure" in await page.inner_text("#ready-why")
    await context.close()
