"""The README's picture of the panel page, made anew: real stations in a call, photographed by Chromium.

python -m intercomd.demo.screenshot OUT.png      (needs the `dev` extra and a Chromium)
"""

import asyncio
import base64
import shutil
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from intercomd.demo.house import House
from intercomd.demo.palette import Image, indexed_png
from intercomd.demo.panel import Panel

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
)
"""Debian's Chromium without a sandbox of its own (CI runs as root) and without talking to anybody."""
DESK: ViewportSize = {"width": 1280, "height": 800}
LIMIT_MS = 20_000
MOST_BYTES = 300_000


class NoBrowser(Exception):
    """No Chromium is installed."""


def browser_path() -> str:
    """The system's Chromium. Raises `NoBrowser`."""
    for name in BROWSERS:
        if (path := shutil.which(name)) is not None:
            return path
    raise NoBrowser(f"none of {', '.join(BROWSERS)} is installed: apt install chromium")


async def push(page: Page, station: str, button: str) -> None:
    """Press a drawn button, as a person with a mouse does."""
    drawn = page.locator(f'[data-station="{station}"] [data-button="{button}"]')
    await drawn.click(delay=100, timeout=LIMIT_MS)


async def lit(page: Page, station: str, led: str) -> None:
    """Wait until the drawn LED is lit."""
    await page.wait_for_selector(
        f'[data-station="{station}"] [data-led="{led}"][data-lit="true"]', state="attached", timeout=LIMIT_MS
    )


async def photograph(page: Page) -> bytes:
    """The door and the flat in a call, the handset lifted, both voices on the meters."""
    await lit(page, "door", "ready")
    await push(page, "door", "call")
    await lit(page, "flat", "ringing")
    await push(page, "flat", "call")
    await lit(page, "flat", "talking")
    await page.mouse.move(0, 0)
    for station in ("door", "flat"):
        await page.wait_for_function(
            """(station) => ["capture", "playout"].every((meter) => {
                 const scale = document.querySelector(`[data-station="${station}"] [data-meter="${meter}"] .scale`);
                 return Number(scale.getAttribute("aria-valuenow")) > -35;
               })""",
            arg=station,
            timeout=LIMIT_MS,
        )
    return await page.screenshot()


async def pixels(browser: Browser, png: bytes) -> Image:
    """The picture decoded, by the browser: nothing else here reads PNG."""
    page = await browser.new_page()
    width, height, encoded = await page.evaluate(
        """async (png) => {
             const bitmap = await createImageBitmap(await (await fetch("data:image/png;base64," + png)).blob());
             const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
             canvas.drawImage(bitmap, 0, 0);
             const { data } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
             let text = "";
             for (let at = 0; at < data.length; at += 32768) {
               text += String.fromCharCode(...data.subarray(at, at + 32768));
             }
             return [bitmap.width, bitmap.height, btoa(text)];
           }""",
        base64.b64encode(png).decode(),
    )
    return np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(height, width, 4)[:, :, :3]


Take = Callable[[], Coroutine[Any, Any, Image]]


async def take() -> Image:
    """Start a household, photograph its panel page, end it."""
    async with House() as house, async_playwright() as playwright:
        panel = Panel(house.stations, house.journal, house.supervisor, house.cards)
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            page = await browser.new_page(viewport=DESK, locale="en-GB", color_scheme="light")
            await page.goto(await panel.start())
            return await pixels(browser, await photograph(page))
        finally:
            await browser.close()
            await panel.close()


def main(arguments: Sequence[str], text: str | None = __doc__, take: Take = take) -> int:
    """Save what `take` makes under the one name in `arguments`. 1: it is heavier than the README may carry."""
    if len(arguments) != 1:
        print(text, file=sys.stderr)
        return 2
    out = Path(arguments[0])
    size = out.write_bytes(indexed_png(asyncio.run(take())))
    print(f"{out}: {size / 1000:.0f} kB")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
