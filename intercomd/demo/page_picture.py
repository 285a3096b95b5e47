"""The README's picture of the resident's page, made anew: a real call from the door, photographed in Chromium.

python -m intercomd.demo.page_picture OUT.png      (needs the `dev` extra and a Chromium)
"""

import asyncio
import base64
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from intercomd.demo.house import House
from intercomd.demo.page_scene import VOICE, invite
from intercomd.demo.palette import Image
from intercomd.demo.resident import Resident, browser, microphone, resident
from intercomd.demo.screenshot import main, pixels
from intercomd.demo.sound import sentence

if TYPE_CHECKING:
    from playwright.async_api import Browser

NAME: Final = "Resident"
SPOKEN_S: Final = 3.0
"""Until the call's figures are those of a call that goes on."""
_SHEET: Final = """<style>body { margin: 0; padding: 28px; display: flex; gap: 28px; background: #d9d4c8; }
img { width: 300px; border-radius: 26px; box-shadow: 0 10px 34px #0004; }</style>"""
_PHONE: Final = """<img src="data:image/png;base64,{}">"""


async def take() -> Image:
    """Ringing, talking, at rest: three phones side by side."""
    with tempfile.TemporaryDirectory(prefix="intercomd-picture-") as folder:
        voice = microphone(sentence(VOICE), Path(folder))
        async with House() as house, browser(voice) as chromium:
            async with resident(chromium, await invite(house, NAME), reduced_motion="reduce") as phone:
                shots = [await _photograph(house, phone, state) for state in ("ringing", "talking", "at rest")]
            return await pixels(chromium, await _sheet(chromium, shots))


async def _photograph(house: House, phone: Resident, state: str) -> bytes:
    if state == "ringing":
        await house.ask("door", "call", peer=NAME)
        await phone.phase("ringing_in")
    elif state == "talking":
        await phone.answer()
        await phone.phase("connected")
        await asyncio.sleep(SPOKEN_S)
    else:
        await phone.hang_up()
        await phone.phase("idle")
        await phone.see("#calls li")
        await phone.see("#toast", state="hidden")
        await phone.page.mouse.move(0, 0)
    return await phone.page.screenshot()


async def _sheet(chromium: "Browser", shots: Sequence[bytes]) -> bytes:
    page = await chromium.new_page(viewport={"width": 1012, "height": 705})
    phones = "".join(_PHONE.format(base64.b64encode(shot).decode()) for shot in shots)
    await page.set_content(_SHEET + phones)
    return await page.screenshot()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], __doc__, take))
