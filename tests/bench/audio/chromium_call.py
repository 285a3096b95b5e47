"""Two Chromiums in a call with each other, as they come: no product around them, voice processing off."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from intercomd.demo.resident import BROWSERS, FLAGS, lacking
from tests.bench.programs import ProgramError

PAGE: Final = "https://call.invalid/"
"""Served by nobody: the answer is put in its place, and a page of https may open a microphone."""
CONNECTED_LIMIT_MS: Final = 15_000

_BEGIN: Final = """async (source) => {
  const device = (await navigator.mediaDevices.enumerateDevices()).find(({ label }) => label === source);
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const audio = { deviceId: { exact: device?.deviceId ?? source }, ...plain };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const pc = window.pc = new RTCPeerConnection({ iceServers: [] });
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  pc.addEventListener("track", ({ streams }) => {
    const audio = document.body.appendChild(document.createElement("audio"));
    audio.srcObject = streams[0];
    audio.play();
  });
  window.described = () => new Promise((resolve) => {
    const look = () => pc.iceGatheringState === "complete" && resolve({
      type: pc.localDescription.type, sdp: pc.localDescription.sdp });
    pc.addEventListener("icegatheringstatechange", look);
    look();
  });
}"""
_OFFER: Final = "async () => { await pc.setLocalDescription(); return await described(); }"
_ANSWER: Final = """async (offer) => {
  await pc.setRemoteDescription(offer); await pc.setLocalDescription(); return await described(); }"""
_TAKE: Final = "async (answer) => { await pc.setRemoteDescription(answer); }"


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one of them runs: the command that goes before its own, the sink that it plays to and the source that it
    hears (its description)."""

    before: Sequence[str]
    sink: str
    source: str


@asynccontextmanager
async def call(seats: tuple[Seat, Seat], env: Mapping[str, str], directory: Path) -> AsyncIterator[Any]:
    """Both ends connected; yields the second one's page. Raises `ProgramError`."""
    from playwright.async_api import Error

    reason = lacking()
    if reason is not None:
        raise ProgramError(reason)
    async with AsyncExitStack() as stack:
        try:
            caller, callee = [await _page(stack, seat, env, directory / f"browser-{seat.sink}") for seat in seats]
            offer = await caller.evaluate(_OFFER)
            await caller.evaluate(_TAKE, await callee.evaluate(_ANSWER, offer))
            for page in (caller, callee):
                await page.wait_for_function("pc.connectionState === 'connected'", timeout=CONNECTED_LIMIT_MS)
        except Error as error:
            raise ProgramError(f"the browser: {error.message}") from error
        yield callee


async def _page(stack: AsyncExitStack, seat: Seat, env: Mapping[str, str], program: Path) -> Any:
    from playwright.async_api import async_playwright

    chromium = next(path for name in BROWSERS if (path := shutil.which(name)))
    program.write_text("#!/bin/sh\nexec " + " ".join([*seat.before, chromium]) + ' "$@"\n')
    program.chmod(0o700)
    playwright = await stack.enter_async_context(async_playwright())
    browser = await playwright.chromium.launch(
        executable_path=program,
        headless=True,
        args=list(FLAGS),
        env={**env, "PULSE_SINK": seat.sink},
        ignore_default_args=["--mute-audio"],
    )
    stack.push_async_callback(browser.close)
    context = await browser.new_context(permissions=["microphone"])
    page = await context.new_page()
    await page.route(PAGE, lambda route: route.fulfill(body="<!doctype html><body>", content_type="text/html"))
    await page.goto(PAGE)
    await page.evaluate(_BEGIN, seat.source)
    return page


def version() -> str:
    """As it says itself; empty without it."""
    chromium = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if chromium is None:
        return ""
    return subprocess.run([chromium, "--version"], capture_output=True, text=True, check=False).stdout.strip()
