"""The panel page in a real browser, against real stations: what a person presses reaches the pins, what the pins do is
seen, and nobody else's page gets in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from intercomd.demo.control import ControlError
from intercomd.demo.house import House
from intercomd.demo.journal import JournalLine
from intercomd.demo.panel import Panel
from intercomd.demo.screenshot import FLAGS, browser_path, lit, push

LIMIT_MS = 20_000
SIZES = [(390, 844), (360, 640), (1280, 800)]
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.platform("pulseaudio", "alsa-pulse", "chromium"),
]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Not per test: household and browser outlive them; tests/e2e/test_station.py checks what a household leaves."""


@dataclass
class Scene:
    house: House
    browser: Browser
    url: str

    async def page(self, size: tuple[int, int] = (1280, 800), **options: object) -> tuple[Page, list[str]]:
        """A fresh page, and everything that its console complains about."""
        context = await self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            **{"locale": "en-GB", **options},  # type: ignore[arg-type]
        )
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {urlsplit(request.url).path[-30:]}"))
        await page.goto(self.url)
        for station in ("door", "flat", "kitchen"):
            await lit(page, station, "ready")
        return page, complaints


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene() -> AsyncIterator[Scene]:
    async with House() as house, async_playwright() as playwright:
        panel = Panel(house.stations, house.journal, house.supervisor, house.cards)
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            yield Scene(house, browser, await panel.start())
        finally:
            await browser.close()
            await panel.close()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def everybody_idle(scene: Scene) -> None:
    """Whatever a test before has left, in seconds that grow with the machine's load and not with our patience."""
    for station in scene.house.stations:
        await scene.house.until(f"{station.name} is ready", partial(scene.house.is_ready, station.name))
        while (status := await scene.house.status(station.name))["phase"] != "idle" or status["error"]:
            with suppress(ControlError):  # it ended by itself meanwhile
                await scene.house.ask(station.name, "hangup")
            await asyncio.sleep(0.1)


async def phase(page: Page, station: str, shown: str) -> None:
    await page.wait_for_selector(
        f'[data-station="{station}"] .phase[data-phase="{shown}"]', state="attached", timeout=LIMIT_MS
    )


async def hang_up(page: Page, station: str) -> None:
    await push(page, station, "hangup")
    for each in ("door", "flat"):
        await phase(page, each, "idle")


async def heard(page: Page, station: str, above_dbfs: float = -40) -> None:
    """Until its loudspeaker's meter moves. `wait_for_function` evaluates in the page, which the policy forbids."""
    scale = page.locator(f"[data-station={station}] [data-meter=playout] .scale")
    async with asyncio.timeout(LIMIT_MS / 1000):
        while float(await scale.get_attribute("aria-valuenow") or "-inf") <= above_dbfs:
            await asyncio.sleep(0.05)


async def test_a_call_by_mouse_with_leds_phases_levels_and_journal(scene: Scene) -> None:
    page, complaints = await scene.page()
    await push(page, "door", "call")
    await lit(page, "door", "ringing")
    await lit(page, "flat", "ringing")
    assert "The flat rings" in await page.inner_text("#hint")
    await push(page, "flat", "call")
    for station in ("door", "flat"):
        await phase(page, station, "connected")
        await lit(page, station, "talking")
        await lit(page, station, "microphone")
    await page.wait_for_selector('.flat[data-lifted="true"]', timeout=LIMIT_MS)
    await heard(page, "door")
    await page.wait_for_selector('#lines li[data-source="flat"] >> text=Audio flows both ways', timeout=LIMIT_MS)
    await push(page, "flat", "unlock")
    await lit(page, "door", "door")
    await page.wait_for_selector('[data-station="door"] [data-led="door"][data-lit="false"]', timeout=LIMIT_MS)
    await push(page, "flat", "speaker")
    await page.wait_for_selector('.flat[data-lifted="false"]', timeout=LIMIT_MS)
    await hang_up(page, "door")
    assert complaints == []
    await page.context.close()


async def test_keyboard_and_touch_press_too_and_a_held_button_stays_down(scene: Scene) -> None:
    page, complaints = await scene.page((390, 844), has_touch=True)
    bell = page.locator('[data-station="door"] [data-button="call"]')
    await bell.focus()
    await page.keyboard.down(" ")
    await page.wait_for_selector('[data-station="door"] [data-button="call"][data-down="true"]')
    assert (await scene.house.status("door"))["panel"]["buttons"]["call"] is True
    await page.keyboard.up(" ")
    await page.wait_for_selector('[data-station="door"] [data-button="call"][data-down="false"]')
    await phase(page, "flat", "ringing")
    await page.locator('#tabs [data-tab="flat"]').tap()
    await page.locator('[data-station="flat"] [data-button="hangup"]').tap()
    await phase(page, "door", "idle")
    assert complaints == []
    await page.context.close()


async def test_a_browser_that_goes_away_lets_go_of_its_button(scene: Scene) -> None:
    page, _ = await scene.page()
    await page.locator('[data-station="kitchen"] [data-button="hangup"]').focus()
    await page.keyboard.down("Enter")
    await page.wait_for_selector('[data-station="kitchen"] [data-button="hangup"][data-down="true"]')
    await page.context.close()
    watcher, _ = await scene.page()
    await watcher.wait_for_selector(
        '[data-station="kitchen"] [data-button="hangup"]:not([data-down="true"])', timeout=LIMIT_MS
    )
    await watcher.context.close()


async def test_a_killed_daemon_is_dark_and_comes_back(scene: Scene) -> None:
    page, complaints = await scene.page()
    pid = scene.house.supervisor.view("kitchen").pid
    await page.locator('[data-station="kitchen"] .kill').click()
    await page.wait_for_selector('[data-station="kitchen"] [data-led="ready"][data-lit="false"]', timeout=LIMIT_MS)
    await lit(page, "kitchen", "ready")
    await phase(page, "kitchen", "idle")
    assert scene.house.supervisor.view("kitchen").pid != pid
    assert complaints == []
    await page.context.close()


async def test_an_unplugged_card_is_told_in_words_and_by_its_led(scene: Scene) -> None:
    page, complaints = await scene.page()
    await page.locator('[data-station="kitchen"] .card').click()
    await lit(page, "kitchen", "error")
    await page.wait_for_selector('[data-station="kitchen"] .fault[data-kind="NotFoundError"]', timeout=LIMIT_MS)
    await page.locator('[data-station="kitchen"] .card').click()
    await lit(page, "kitchen", "ready")
    await page.wait_for_selector('[data-station="kitchen"] .fault[data-kind=""]', state="attached", timeout=LIMIT_MS)
    assert complaints == []
    await page.context.close()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_size_scrolls_sideways_and_every_device_is_wholly_on_its_wall(
    scene: Scene, size: tuple[int, int], scheme: str
) -> None:
    page, complaints = await scene.page(size, color_scheme=scheme)
    tabs = page.locator("#tabs button")
    for number in range(await tabs.count()):
        if size[0] < 760:
            await tabs.nth(number).click()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        cut = await page.evaluate(
            """[...document.querySelectorAll(".wall")].filter((wall) => wall.offsetParent).filter((wall) => {
                 const [outer, inner] = [wall, wall.firstElementChild].map((each) => each.getBoundingClientRect());
                 return inner.top < outer.top || inner.bottom > outer.bottom
                     || inner.left < outer.left || inner.right > outer.right;
               }).length"""
        )
        assert cut == 0
    if size == (1280, 800):
        assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert complaints == []
    await page.context.close()


async def test_chinese_by_the_browser_s_language_and_by_the_switch(scene: Scene) -> None:
    page, _ = await scene.page(locale="zh-CN")
    idle = (await scene.house.status("door"))["text"]
    assert await page.inner_text('[data-station="door"] .phase') == idle["zh"]
    await page.locator('[data-language="en"]').click()
    assert await page.inner_text('[data-station="door"] .phase') == idle["en"]
    assert await page.get_attribute("html", "lang") == "en"
    await page.context.close()


async def test_every_control_has_a_name_and_the_phase_is_announced(scene: Scene) -> None:
    page, _ = await scene.page()
    nameless = await page.evaluate(
        """[...document.querySelectorAll("button")].filter((button) => button.offsetParent)
             .filter((button) => !(button.ariaLabel || button.textContent.trim())).length"""
    )
    assert nameless == 0
    assert await page.locator('.phase[aria-live="polite"]').count() == 3
    bell = page.locator('[data-station="door"]').get_by_role("button", name="Ring Flat")
    assert await bell.count() == 1
    await page.context.close()


async def test_names_and_journal_lines_are_text_never_markup(scene: Scene) -> None:
    page, complaints = await scene.page()
    evil = "<img src=x onerror=alert(1)>"
    scene.house.journal.write(JournalLine(0.0, "door", 3, evil, evil, {"PEER": evil}))
    await page.wait_for_selector(f"#lines >> text={evil}")
    assert await page.locator("#lines img").count() == 0
    assert complaints == []
    await page.context.close()


# ------------------------------------------------------------------------------------------------ who gets in


async def test_only_this_page_gets_in(scene: Scene) -> None:
    parts = urlsplit(scene.url)
    origin = f"{parts.scheme}://{parts.netloc}"
    async with aiohttp.ClientSession() as session:

        async def status(path: str, **headers: str) -> int:
            async with session.get(origin + path, headers=headers) as response:
                assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
                return response.status

        assert await status(parts.path) == 200
        assert await status("/") == 404
        assert await status("/guess/") == 404
        assert await status("/guess/socket", Origin=origin) == 404
        assert await status(parts.path, Host="rebound.example:80") == 403
        assert await status(parts.path + "%2e%2e%2fpanel.py") == 404
        assert await status(parts.path + "panel.py") == 404
        assert await status(parts.path + "socket") == 403
        assert await status(parts.path + "socket", Origin="http://evil.example") == 403
        assert await status(parts.path + "socket", Origin="null") == 403


async def test_a_foreign_page_s_socket_is_refused_and_ours_takes_no_nonsense(scene: Scene) -> None:
    parts = urlsplit(scene.url)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(scene.url + "socket", origin="http://evil.example")
        async with session.ws_connect(scene.url + "socket", origin=f"{parts.scheme}://{parts.netloc}") as socket:
            for nonsense in (
                "not json",
                "[]",
                '{"type": "press"}',
                '{"type": "press", "station": "../door", "button": "call", "pressed": true}',
                '{"type": "press", "station": "door", "button": 7, "pressed": true}',
                '{"type": "kill", "station": "hub"}',
                '{"type": "card", "station": "door", "plugged": "no"}',
            ):
                await socket.send_str(nonsense)
            await socket.send_str('{"type": "press", "station": "door", "button": "no such", "pressed": true}')
            kinds = set()
            while "refused" not in kinds:
                kinds.add((await socket.receive_json(timeout=10))["type"])
    assert scene.house.supervisor.view("hub").starts == 1
    assert (await scene.house.status("door"))["phase"] == "idle"
    assert scene.house.cards.plugged("door")
