"""An administrator's hands on the page `/admin`, in Chromium, at a real hub."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from intercomd.hub.server import HubServer
from tests.e2e.administrators import administrator
from tests.e2e.page.witness import Witness

IN_THE_OFFICE = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.platform("chromium"),
    pytest.mark.timeout(90),
]
"""Marks of every module about that page: one event loop for all, since one Chromium serves all."""
VIEWS = ("board", "people", "groups", "rights", "records", "account")
NUMBERS = itertools.count(1)
REFUSED = "Failed to load resource: the server responded with a status of "
"""How a browser complains of each refusal; a test that provokes one excuses it by its number."""


@asynccontextmanager
async def visitor(chromium: Browser, witness: Witness, **options: Any) -> AsyncIterator[Page]:
    """A browser of somebody who is not signed in; `options` are Playwright's."""
    context = await chromium.new_context(**{"viewport": {"width": 390, "height": 844}, "locale": "en-GB", **options})
    try:
        await witness.watch(context)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        yield page
    finally:
        await context.close()


@asynccontextmanager
async def signed_in(
    chromium: Browser, witness: Witness, hub: HubServer, view: str = "board", **options: Any
) -> AsyncIterator[Page]:
    """A new administrator, who looks at this view."""
    async with administrator(hub, f"admin-{next(NUMBERS)}") as console, visitor(chromium, witness, **options) as page:
        cookies: Any = [{"name": one.key, "value": one.value, "url": console.origin} for one in console.http.cookie_jar]
        await page.context.add_cookies(cookies)
        await page.goto(f"{console.origin}/admin#{view}")
        await shows(page, view)
        yield page


async def visit(page: Page, view: str) -> None:
    await page.click(f'#places a[href="#{view}"]')
    await shows(page, view)


async def shows(page: Page, view: str) -> None:
    """Wait until this view is there with what the hub told of it."""
    await expect(page.locator(f'#places a[href="#{view}"]')).to_have_attribute("aria-current", "page")
    await expect(page.locator("#view .none[role=status]")).to_have_count(0)


async def press(page: Page, key: str) -> None:
    """A button by its key; the row in which it is folded away is opened first."""
    button = page.locator(f'[data-key="{key}"]')
    row = page.locator("details:not([open])", has=button).locator("summary")
    if await row.count():
        await row.click()
    await button.click()


async def send(page: Page) -> None:
    """What the dialog asks, as it stands; it closes when the hub has taken it."""
    await page.click("dialog [type=submit]")
    await put_away(page)


async def done(page: Page) -> None:
    """What the dialog told is read."""
    await page.click("dialog .told .wide.go")
    await put_away(page)


async def put_away(page: Page) -> None:
    await expect(page.locator("dialog")).to_have_count(0)


async def hears(page: Page, words: str) -> None:
    """What is said of what was done: seen, and for screen readers in a region that was there before."""
    await expect(page.locator("#toast")).to_contain_text(words)
    await expect(page.locator("#said[role=status]")).to_contain_text(words)
