"""A resident with the page in a real browser: headless Chromium, whose microphone speaks a recorded sentence.

`async with browser(voice) as chromium, resident(chromium, link) as person:` where `voice` comes from `microphone`.
Playwright and Chromium are for tests and the scripted demo only; `lacking()` says what of them is missing.
"""

import base64
import shutil
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from intercomd.demo.listen import read_wav
from intercomd.media.pcm import RATE_HZ, Pcm

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

LIMIT_S: Final = 15.0
BREATH_S: Final = 0.4
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome-stable")
PHONE: Final = {"width": 390, "height": 844}
FLAGS: Final = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    # A machine without a network has only this.
    "--allow-loopback-in-peer-connection",
)
"""Debian's Chromium as root in a container, talking to nobody but us."""

_RECORD: Final = """async (seconds) => {
  // What comes out of the loudspeaker: MediaStreamTrackProcessor gives the decoded samples, whatever plays them.
  const [track] = document.getElementById("far").srcObject?.getAudioTracks() ?? [];
  if (!track) return "";
  const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
  const parts = [];
  const until = performance.now() + seconds * 1000;
  while (performance.now() < until) {
    const wait = new Promise((resolve) => setTimeout(resolve, 1000, { done: true }));
    const { done, value } = await Promise.race([reader.read(), wait]);
    if (done) break;
    const samples = new Float32Array(value.numberOfFrames);
    value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    value.close();
    parts.push(Int16Array.from(samples, (sample) => Math.max(-1, Math.min(1, sample)) * 32767));
  }
  await reader.cancel();
  let text = "";
  for (const part of parts) text += String.fromCharCode(...new Uint8Array(part.buffer));
  return btoa(text);
}"""


class PageError(Exception):
    """The page does not do what it must; the text says what was awaited and what it shows."""


def lacking() -> str | None:
    """Why there can be no resident here, or None."""
    if find_spec("playwright") is None:
        return "the Python package playwright is not installed (extra `dev`)"
    if not any(map(shutil.which, BROWSERS)):
        return f"no program {' or '.join(BROWSERS)}: apt install chromium"
    return None


def microphone(sentence: Path, folder: Path) -> Path:
    """A file for Chromium's microphone that says this sentence, in the browser's own rate, and takes a breath: the
    browser's noise suppression takes for noise what never pauses."""
    path = folder / f"microphone-{sentence.stem}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(read_wav(sentence).tobytes() + bytes(2 * round(BREATH_S * RATE_HZ)))
    return path


@asynccontextmanager
async def browser(voice: Path | None, *more: str) -> "AsyncIterator[Browser]":
    """Chromium. Its microphone says `voice` again and again; None: there is no microphone."""
    from playwright.async_api import async_playwright

    program = next(path for name in BROWSERS if (path := shutil.which(name)))
    said = [f"--use-file-for-fake-audio-capture={voice}", "--use-fake-device-for-media-stream"] if voice else []
    flags = [*FLAGS, *said, *more]
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program, headless=True, args=flags)
        try:
            yield chromium
        finally:
            await chromium.close()


@asynccontextmanager
async def resident(
    chromium: "Browser", link: str, watch: "Callable[[BrowserContext], Awaitable[None]] | None" = None, **options: Any
) -> "AsyncIterator[Resident]":
    """Somebody who opens their invitation's link in a browser of their own and signs in. `watch` is told of the browser
    before that; `options` are Playwright's. The microphone is allowed unless they say otherwise."""
    usual = {"viewport": PHONE, "locale": "en-GB", "permissions": ["microphone"]}
    context = await chromium.new_context(**{**usual, **options})
    try:
        if watch is not None:
            await watch(context)
        person = Resident(context, await context.new_page())
        await person.sign_in(link)
        yield person
    finally:
        await context.close()


class Resident:
    """One tab of the page, and the hands that use it. Every wait ends after its limit, with `PageError`."""

    def __init__(self, context: "BrowserContext", page: "Page") -> None:
        self.context = context
        self.page = page

    async def sign_in(self, link: str) -> None:
        await self.page.goto(link)
        await self.click("sign-in")
        await self.ready()

    async def ready(self, limit_s: float = LIMIT_S) -> None:
        """Signed in, connected, able to ring in one way or another."""
        await self.see(", ".join(f'#ready[data-state="{state}"]' for state in ("yes", "silent", "denied")), limit_s)

    async def another_tab(self) -> "Resident":
        """The same browser's second tab."""
        tab = Resident(self.context, await self.context.new_page())
        await tab.page.goto(self.page.url)
        await tab.ready()
        return tab

    # ---- hands

    async def answer(self) -> None:
        await self.click("answer")

    async def decline(self) -> None:
        await self.click("decline")

    async def hang_up(self) -> None:
        await self.click("hang-up")

    async def mute(self) -> None:
        """Or the other way round."""
        await self.click("mute")

    async def call(self, name: str) -> None:
        """Press a station's or a group's row."""
        await self.page.locator("#stations li", has_text=name).locator("button.row").click(timeout=LIMIT_S * 1000)

    async def reload(self) -> None:
        await self.page.reload()

    async def click(self, identifier: str) -> None:
        from playwright.async_api import Error

        try:
            await self.page.click(f"#{identifier}", timeout=LIMIT_S * 1000)
        except Error as error:
            raise PageError(f"there is no #{identifier} to press; the page shows {await self.shown()}") from error

    # ---- eyes

    async def phase(self, phase: str, limit_s: float = LIMIT_S) -> None:
        """Wait until the call is in this phase; "idle": until there is no call."""
        if phase == "idle":
            await self.see("#call", limit_s, state="hidden")
        else:
            await self.see(f'#call[data-phase="{phase}"]', limit_s)

    async def see(self, selector: str, limit_s: float = LIMIT_S, state: Any = "visible") -> None:
        """Wait until it is there (or "hidden")."""
        from playwright.async_api import Error

        try:
            await self.page.wait_for_selector(selector, timeout=limit_s * 1000, state=state)
        except Error as error:
            raise PageError(f"{selector} is not {state} within {limit_s:g} s; it shows {await self.shown()}") from error

    async def shown(self) -> str:
        """What a person sees, in short."""
        text: str = await self.page.evaluate(
            """() => ["#veil", "#call", "#toast", "#welcome", "#home"].map((part) => document.querySelector(part))
                 .filter((part) => !part.hidden)
                 .map((part) => `${part.id} ${part.dataset.phase ?? ""}: ${part.innerText}`).join(" | ")"""
        )
        return " ".join(text.split())[:300]

    # ---- ears

    async def hear(self, seconds_s: float) -> Pcm:
        """What the page plays of the other side, from now on for so long: 48 kHz mono."""
        encoded: str = await self.page.evaluate(_RECORD, seconds_s)
        return np.frombuffer(base64.b64decode(encoded), "<i2").astype(np.int16)
