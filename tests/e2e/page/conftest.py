"""One household and one Chromium for all of these tests; a resident of her own for each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from intercomd.demo.house import HUB, House
from intercomd.demo.page_scene import VOICE, invite
from intercomd.demo.resident import Resident, browser, microphone, resident
from intercomd.demo.sound import sentence
from tests.e2e.page.scene import Scene, start_hub
from tests.e2e.page.witness import Witness

RING_S = 10
INSECURE_HOST = "insecure.test"
"""By this name the same hub is at an address that browsers do not trust."""
GRACE_S = 4
"""How long a closed tab keeps its call here."""


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Not per test: household and browser outlive them, and restarted children have new pipes. It is checked once."""


@pytest.fixture(scope="package", autouse=True)
def nothing_left_of_the_household() -> Iterator[None]:
    before = _children()
    yield
    assert _children() <= before


def _children() -> set[str]:
    """Our child processes (proc(5): the `children` file of each task)."""
    return {pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


@pytest_asyncio.fixture(loop_scope="session", scope="package")
async def house() -> AsyncIterator[House]:
    """With a short grace, so that a test can wait for its end."""
    async with House(ring_timeout_s=RING_S, pause_s=0.4) as house:
        await house.supervisor.stop(HUB)
        config = house.household.hub_config
        config.write_text(config.read_text() + f"grace_s = {GRACE_S}\n")
        start_hub(house)
        for station in house.stations:
            await house.until(f"{station.name} is ready", lambda name=station.name: house.is_ready(name))
        yield house


@pytest_asyncio.fixture(loop_scope="session", scope="package")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    voice = microphone(sentence(VOICE), tmp_path_factory.mktemp("voice"))
    async with browser(voice, f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1") as chromium:
        yield chromium


@pytest_asyncio.fixture(loop_scope="session")
async def witness() -> AsyncIterator[Witness]:
    witness = Witness()
    yield witness
    assert witness.complaints == []


Open = Callable[..., Awaitable[Resident]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(house: House, chromium: Browser, witness: Witness) -> AsyncIterator[Open]:
    """`await open_page("tenant", locale="zh-CN")`: a resident in a browser of their own, signed in."""
    async with AsyncExitStack() as stack:

        async def opened(name: str = "tenant", group: str | None = None, **options: Any) -> Resident:
            link = await invite(house, name, group)
            return await stack.enter_async_context(resident(chromium, link, watch=witness.watch, **options))

        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(open_page: Open) -> Resident:
    return await open_page("tenant")


@pytest_asyncio.fixture(loop_scope="session")
async def scene(house: House, tmp_path: Path) -> AsyncIterator[Scene]:
    """The stations' side; everybody there is idle before and after."""
    scene = Scene(house, tmp_path)
    await scene.quiet()
    yield scene
    async with asyncio.timeout(30):
        await scene.quiet()
