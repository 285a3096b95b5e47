"""The README's picture of the panel page, made anew: real stations in a call, photographed by Chromium.

    python -m intercomd.demo.screenshot OUT.jpg      (needs the `dev` extra and a Chromium)

A JPEG, since the plaster and the steel are noise, of which a PNG keeps every grain.
"""

import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Page, ViewportSize, async_playwright

from intercomd.demo.house import House
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
QUALITY = 86
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


async def photograph(page: Page, out: Path) -> None:
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
    await page.screenshot(path=out, type="jpeg", quality=QUALITY)


async def run(out: Path) -> None:
    async with House() as house, async_playwright() as playwright:
        panel = Panel(house.stations, house.journal, house.supervisor, house.cards)
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            page = await browser.new_page(viewport=DESK, locale="en-GB", color_scheme="light")
            await page.goto(await panel.start())
            await photograph(page, out)
        finally:
            await browser.close()
            await panel.close()


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(arguments[0])
    asyncio.run(run(out))
    size = out.stat().st_size
    print(f"{out}: {size / 1000:.0f} kB")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
