"""A resident's page in a real Chromium in a namespace of its own, with an ear of its own: whatever its tracks give is
timed in the page, since a headless browser plays to nobody."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from intercomd.demo.page_scene import invite
from intercomd.demo.resident import BROWSERS, FLAGS, PageError, Resident, lacking, resident
from tests.bench.ears import Ear
from tests.bench.hands import Late
from tests.bench.listening import listening
from tests.bench.page import _unceasing
from tests.bench.recovery.judge import Hole
from tests.bench.recovery.laboratory import CALLER, SINKS, Laboratory
from tests.bench.recovery.network import PAGE
from tests.bench.recovery.trial import BEFORE_S, GIVEN_UP_S, Fault, Ground, Trial

NAME: Final = "resident"
AFTER_S: Final = 4.0
_JOIN_MS: Final = 250
_EAR: Final = "window.sound = [];" + listening(
    0.004,
    heard=f"""(now) => {{
  const at = performance.timeOrigin + now;
  const last = window.sound.at(-1);
  if (last && at - last[1] < {_JOIN_MS}) last[1] = at;
  else window.sound.push([at, at]);
  return false;
}}""",
)


@asynccontextmanager
async def at_the_page(lab: Laboratory, directory: Path) -> AsyncIterator[Resident]:
    """Signed in, ready to be called by the name `resident`."""
    from playwright.async_api import Error, async_playwright

    reason = lacking()
    if reason is not None:
        raise PageError(reason)

    program = directory / "chromium"
    chromium = next(path for name in BROWSERS if (path := shutil.which(name)))
    program.write_text("#!/bin/sh\nexec " + " ".join(lab.network.inside(PAGE, [chromium])) + ' "$@"\n')
    program.chmod(0o700)
    said = [f"--use-file-for-fake-audio-capture={_unceasing(directory)}", "--use-fake-device-for-media-stream"]
    trusted = f"--unsafely-treat-insecure-origin-as-secure={lab.hub_url}"
    link = await invite(lab, NAME)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, headless=True, args=[*FLAGS, *said, trusted]
        )
        try:
            watch = lambda context: context.add_init_script(_EAR)  # noqa: E731
            async with resident(browser, link, watch=watch) as person:
                yield person
        except Error as error:
            raise PageError(f"the browser: {error.message}") from error
        finally:
            await browser.close()


async def page_trial(ground: Ground, person: Resident, name: str, fault: Fault) -> Trial:
    """The door calls the page; the fault; how it goes on at both."""
    lab = ground.lab
    await lab.ask(CALLER, "call", peer=NAME)
    await person.phase("ringing_in")
    await person.answer()
    await person.phase("connected")
    status = await lab.see(CALLER, "is connected", lambda status: status["phase"] == "connected")
    made = Trial(lab.call_id(status))
    ground.calls.setdefault(name, []).append(made.call_id)
    with Ear(lab.rig, SINKS[CALLER]) as ear:
        made.begun_s = monotonic()
        await asyncio.sleep(BEFORE_S)
        made.fault_s = made.since_s = monotonic()
        await fault(made)
        with suppress(PageError, Late):
            await person.phase("connected", GIVEN_UP_S)
            await lab.see(CALLER, "is connected", lambda status: status["phase"] == "connected", GIVEN_UP_S)
        await asyncio.sleep(AFTER_S)
        status = await lab.status(CALLER)
        made.call_ids = (lab.call_id(status),)
        made.epoch = int(status["call"]["epoch"]) if status["call"] else 0
        made.page = await heard_at_the_page(person, made.since_s)
        made.end_s = monotonic()
        made.heard = {CALLER: ear.heard()}
    ground.over(name, made)
    await lab.quiet()
    await person.phase("idle")
    return made


async def heard_at_the_page(person: Resident, from_s: float) -> Sequence[Hole]:
    """The holes from `from_s` (CLOCK_MONOTONIC) on: where nothing audible came out of any connection's track."""
    epoch_s = time.time() - monotonic()
    spans: list[list[float]] = await person.page.evaluate("window.sound")
    dated = [(begin / 1000 - epoch_s, end / 1000 - epoch_s) for begin, end in spans]
    now_s, at_s = monotonic(), from_s
    found = []
    for begin_s, end_s in sorted(dated):
        if begin_s - at_s > _JOIN_MS / 1000:
            found.append(Hole(at_s, begin_s))
        at_s = max(at_s, end_s)
    if now_s - at_s > 2 * _JOIN_MS / 1000:
        found.append(Hole(at_s, None))
    return found
