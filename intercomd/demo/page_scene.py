"""The scripted demo's last scene: the door rings a resident, who answers on the page, in a real browser."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from intercomd.demo.house import House
from intercomd.demo.listen import SAME_VOICE
from intercomd.demo.resident import PageError, Resident, browser, lacking, microphone, resident
from intercomd.demo.sound import sentence
from intercomd.demo.stage import Expected, Late, Stage
from intercomd.hub.office import ORDER_LIMIT_S, Order, Result, socket_path

NAME: Final = "resident"
VOICE: Final = 2
"""Which sentence the browser's microphone says: neither the door's nor the flat's."""
SPEECH_S: Final = 6.0
SETTLE_S: Final = 3.0
TITLE: Final = "the resident's page: the door rings in a browser, the tab is reloaded, the page calls the flat"
LIMIT_S: Final = 150.0


async def on_the_page(stage: Stage) -> None:
    """Skipped by name where there is no browser, except where STRICT=1 says that nothing may be."""
    reason = lacking()
    if reason is not None:
        if os.environ.get("STRICT") == "1":
            stage.findings.check(TITLE, False, reason)
        else:
            stage.findings.say(f"skipped: {TITLE}: {reason}")
        return
    link = await invite(stage.house, NAME)
    voice = microphone(sentence(VOICE), stage.house.household.root)
    async with browser(voice) as chromium, resident(chromium, link) as person:
        try:
            await _answered(stage, person)
            await _calls(stage, person)
        except (PageError, Late) as error:
            raise Late(f"{error} (the page shows {await person.shown()})") from error


PAGE_SCENE = (TITLE, on_the_page, LIMIT_S)
"""For `scenes.SCENES`: title, scene, limit."""


async def invite(house: House, name: str, group: str | None = None) -> str:
    """A resident's link, as an administrator gets it."""
    order = Order("invite", name, group)
    async with asyncio.timeout(ORDER_LIMIT_S):
        reader, writer = await asyncio.open_unix_connection(str(socket_path(house.household.hub_database)))
        try:
            writer.write(msgspec.json.encode(order) + b"\n")
            result = msgspec.json.decode(await reader.readline(), type=Result)
        finally:
            writer.close()
    if not result.ok:
        raise Late(f"nobody could be invited: {result.message}")
    return f"{house.household.hub_url}/#{result.token}"


async def _answered(stage: Stage, person: Resident) -> None:
    await stage.house.ask("door", "call", peer=NAME)
    await person.phase("ringing_in")
    status = await stage.phase("door", "ringing")
    call_id = status["call"]["callId"]
    stage.expected.append(Expected(call_id, "the call that was answered on the page", "completed", "completed"))
    stage.findings.check("the door calls the resident: the page rings", True)
    await person.answer()
    await person.phase("connected")
    await stage.phase("door", "connected")
    stage.findings.check("answered on the page: page and door are connected", True)
    await _talk(stage, person, "door", "door_spk", "")
    await person.reload()
    await person.phase("connected")
    back = await stage.phase("door", "connected")
    same = back["call"]["callId"] == call_id and back["call"]["epoch"] > status["call"]["epoch"]
    stage.findings.check("the tab is reloaded: it is back in the same call, in a new epoch", same)
    await _talk(stage, person, "door", "door_spk", "after the reload ")
    await stage.press("door", "hangup")
    await person.phase("idle")
    stage.findings.check("hang-up at the door: the page is idle", True)


async def _calls(stage: Stage, person: Resident) -> None:
    await stage.phase("door", "idle")
    await person.call("flat")
    ringing = await stage.phase("flat", "ringing")
    expected = Expected(ringing["call"]["callId"], "the call from the page to the flat", "completed", "completed")
    stage.expected.append(expected)
    await stage.press("flat", "call")
    await person.phase("connected")
    await stage.phase("flat", "connected")
    stage.findings.check("the page calls the flat: it rings and answers", True)
    await _talk(stage, person, "flat", "flat_handset", "")
    await person.hang_up()
    await person.phase("idle")
    await stage.phase("flat", "idle")
    stage.findings.check("hang-up on the page: the flat is idle", True)


async def _talk(stage: Stage, person: Resident, station: str, sink: str, when: str) -> None:
    """Both ways at once: what the page plays, and what the station's sink plays."""
    # Until its receive buffer has found its depth, the browser stretches time: such speech does not correlate.
    await asyncio.sleep(SETTLE_S)
    async with stage.recording([sink]) as (room,):
        heard = room.with_suffix(".page.raw")
        heard.write_bytes((await person.hear(SPEECH_S)).tobytes())
    await _heard(stage, f"{when}the page hears the {station}", stage.voice(station), heard)
    await _heard(stage, f"{when}the {station} hears the page", sentence(VOICE), room)


async def _heard(stage: Stage, name: str, voice: Path, recorded: Path) -> None:
    """Judged by `demo.listen` in a process of its own."""
    command = [sys.executable, "-m", "intercomd.demo.listen", str(voice), str(recorded)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    correlation = json.loads(output)["correlation"] if output else 0.0
    stage.findings.check(name, correlation >= SAME_VOICE, correlation, "correlation", f"≥ {SAME_VOICE}")
