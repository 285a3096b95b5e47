"""How the page looks, reads and weighs: languages, sizes, colours, keyboard, screen reader, what is loaded."""

import re
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio

from intercomd.demo.house import House
from intercomd.demo.resident import Resident
from tests.e2e.hub_clients import Client
from tests.e2e.page.conftest import Open
from tests.e2e.page.scene import ON_THE_PAGE, Scene, add_station

pytestmark = ON_THE_PAGE

SIZES = [(390, 844), (360, 640), (1280, 800)]
MAX_BYTES, MAX_REQUESTS = 120_000, 10
EVIL = "<img src=x onerror=alert(1)><b>Evil</b>"
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(house: House) -> AsyncIterator[Client]:
    """A station whose name is an attack."""
    client = Client()
    token = await add_station(house, EVIL)
    port = house.household.hub_port
    assert await client.connect(port, {"token": token, "instance": "evil", "protocol": 1}) is None
    await client.call("resync", {})
    yield client
    await client.close()


async def violations(person: Resident) -> list[str]:
    """What axe finds wrong with what is shown now."""
    if not await person.page.evaluate("'axe' in window"):
        await person.page.evaluate(AXE)
    found: dict[str, Any] = await person.page.evaluate("axe.run()")
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found["violations"] for node in rule["nodes"]]


async def wider(person: Resident) -> list[tuple[int, int, int]]:
    """The sizes at which something could be scrolled sideways, and by how many pixels."""
    found = []
    for width, height in SIZES:
        await person.page.set_viewport_size({"width": width, "height": height})
        excess: int = await person.page.evaluate(
            """Math.max(document.documentElement.scrollWidth - innerWidth, ...["call", "veil"]
                 .map((id) => document.getElementById(id)).map((part) => part.scrollWidth - part.clientWidth))"""
        )
        if excess > 0:
            found.append((width, height, excess))
    return found


async def check(person: Resident, state: str) -> None:
    assert await violations(person) == [], state
    assert await wider(person) == [], state


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "zh-CN")])
async def test_every_state_is_accessible_and_fits(scene: Scene, open_page: Open, scheme: str, locale: str) -> None:
    await add_station(scene.house, "attic")
    tenant = await open_page("tenant", color_scheme=scheme, locale=locale, reduced_motion="reduce")
    await tenant.page.click("#ready summary")
    await check(tenant, "home")
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    await check(tenant, "ringing")
    await tenant.answer()
    await tenant.phase("connected")
    await tenant.click("quality-open")
    await check(tenant, "in call")
    await tenant.hang_up()
    await tenant.phase("idle")
    await check(tenant, "after a call")
    await tenant.call("attic")
    await tenant.see("#error")
    await check(tenant, "error")
    await tenant.click("error-ok")
    await tenant.click("sign-out")
    await tenant.see("#welcome")
    await check(tenant, "signed out")


async def test_both_languages_and_the_choice_is_kept(open_page: Open) -> None:
    tenant = await open_page("tenant", locale="zh-CN")
    assert await tenant.page.inner_text("#ready-title") == "本设备可以响铃"
    assert await tenant.page.get_attribute("html", "lang") == "zh"
    await tenant.click("language")
    assert await tenant.page.inner_text("#ready-title") == "This device rings"
    await tenant.reload()
    await tenant.ready()
    assert await tenant.page.inner_text("#ready-title") == "This device rings"
    assert await tenant.page.get_attribute("html", "lang") == "en"


async def test_by_keyboard_alone(scene: Scene, tenant: Resident) -> None:
    async def tab_to(selector: str) -> None:
        for _ in range(20):
            if await tenant.page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
                return
            await tenant.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {selector}")

    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    assert await tenant.page.evaluate("document.activeElement.id") == "call-name", "a stray key answers nothing"
    await tab_to("#answer")
    await tenant.page.keyboard.press("Enter")
    await tenant.phase("connected")
    await tab_to("#mute")
    await tenant.page.keyboard.press("Space")
    assert await tenant.page.get_attribute("#mute", "aria-pressed") == "true"
    await tab_to("#hang-up")
    await tenant.page.keyboard.press("Enter")
    await tenant.phase("idle")
    await tab_to('#stations [aria-label*="flat"]')
    await tenant.page.keyboard.press("Enter")
    await tenant.phase("ringing_out")
    await tab_to("#hang-up")
    await tenant.page.keyboard.press("Enter")
    await tenant.phase("idle")
    assert "flat" in await tenant.page.evaluate("document.activeElement.getAttribute('aria-label')")


async def test_names_of_others_stay_text(scene: Scene, tenant: Resident, stranger: Client) -> None:
    await stranger.call("initiate_call", {"callId": "evil-1", "recipientId": "tenant"})
    await tenant.phase("ringing_in")
    assert await tenant.page.inner_text("#call-name") == EVIL
    assert await tenant.page.inner_text("#announce") == f"{EVIL} is calling"
    await tenant.decline()
    await tenant.phase("idle")
    await tenant.see('#calls li[data-key="evil-1"]')
    assert await tenant.page.inner_text('#calls li[data-key="evil-1"] .name') == EVIL
    assert EVIL in await tenant.page.locator("#stations .name").all_inner_texts()
    assert await tenant.page.locator("img, b").count() == 0


async def test_weight_and_what_a_second_visit_costs(house: House, open_page: Open) -> None:
    sizes: list[tuple[str, int]] = []
    tenant = await open_page("tenant")
    page = await tenant.context.new_page()
    network = await tenant.context.new_cdp_session(page)
    await network.send("Network.enable")
    await network.send("Network.setCacheDisabled", {"cacheDisabled": True})
    network.on("Network.loadingFinished", lambda event: sizes.append(("", event["encodedDataLength"])))
    network.on("Network.webSocketCreated", lambda _: sizes.append(("socket", 0)))
    await page.goto(house.household.hub_url)
    await page.wait_for_selector('#ready[data-state="yes"]')
    await page.wait_for_load_state("networkidle")
    assert len(sizes) <= MAX_REQUESTS
    assert sum(size for _, size in sizes) <= MAX_BYTES
    await network.send("Network.setCacheDisabled", {"cacheDisabled": False})
    for _ in range(2):
        sizes.clear()
        await page.reload()
        await page.wait_for_selector('#ready[data-state="yes"]')
        await page.wait_for_load_state("networkidle")
    assert sum(size for _, size in sizes) <= 12_000, "the index and three short answers; the rest is kept"


async def test_the_index_is_never_kept_and_the_files_for_ever(tenant: Resident) -> None:
    index = await tenant.context.request.get(tenant.page.url)
    assert index.headers["cache-control"] == "no-store"
    paths = re.findall(r'(?:src|href)="(/page/[^"]+)"', await index.text())
    assert len(paths) >= 4
    for path in paths:
        answer = await tenant.context.request.get(tenant.page.url.rstrip("/") + path)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "permissions-policy"):
            assert answer.headers[name]
