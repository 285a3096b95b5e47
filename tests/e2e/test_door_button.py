"""Whole stations and a hub: the door button at home, a call that nobody answers by hand, and quiet."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from intercomd.demo.control import ControlError
from intercomd.demo.house import House
from tests.e2e.hub_clients import until
from tests.e2e.test_station import People, our_children, sounds

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.platform("pulseaudio"),
]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Not per test: the household outlives them."""


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_the_household() -> Iterator[None]:
    before, children = len(os.listdir("/proc/self/fd")), set(our_children())
    yield
    assert set(our_children()) <= children
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house() -> AsyncIterator[House]:
    """Whom the kitchen calls answers by itself. Whoever is at home may open the door in a call (`House`)."""
    changed = {"call": {"auto_answer": ["kitchen"], "auto_answer_after_s": 2.0}, "panel": {"door_open_s": 1.0}}
    async with House(ring_timeout_s=20, changed=changed) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def people(house: House) -> AsyncIterator[People]:
    people = People(house)
    await people.quiet()
    yield people
    await people.quiet()


def is_open(status: dict[str, Any]) -> bool:
    return bool(status["panel"]["outputs"]["door"])


def refused(people: People) -> set[str]:
    """Who was, by the hub's journal."""
    lines = (line for line in people.house.journal.lines() if line.source == "hub" and line.at_s >= people.since)
    return {line.fields["USER_ID"] for line in lines if line.fields.get("ERROR_CODE") == "DOOR_REFUSED"}


async def test_the_button_at_home_opens_the_door_of_whom_one_talks_with(people: People) -> None:
    await people.call()
    call_id = (await people.house.status("flat"))["call"]["callId"]
    assert not is_open(await people.house.status("door"))
    await people.press("flat", "unlock")
    await people.see("door", is_open)
    at_door, at_flat = await people.journal("door", "DOOR_OPENED"), await people.journal("flat", "DOOR_OPENED")
    at_hub = await people.journal("hub", "DOOR_OPENED")
    assert at_door["CALL_ID"] == at_flat["CALL_ID"] == at_hub["CALL_ID"] == call_id
    assert (at_hub["USER_ID"], at_hub["PEER"], at_hub["COMMAND_ID"]) == ("flat", "door", at_door["COMMAND_ID"])
    await people.see("door", lambda status: not is_open(status))
    await people.house.ask("flat", "door", station="door")
    await people.see("door", is_open)


async def test_nobody_else_opens_it(people: People) -> None:
    await people.see("door", lambda status: not is_open(status))
    await people.call()
    with pytest.raises(ControlError, match="not permitted"):
        await people.house.ask("kitchen", "door", station="door")
    await people.press("kitchen", "unlock")
    await people.press("flat", "hangup")
    await people.phase("flat", "idle")
    await people.press("flat", "unlock")
    with pytest.raises(ControlError, match="not permitted"):
        await people.house.ask("flat", "door", station="door")
    assert not is_open(await people.house.status("door"))
    await until(lambda: refused(people) == {"kitchen", "flat"})


async def test_a_command_that_a_stalled_station_finds_later_opens_nothing(people: People) -> None:
    """The hub's command and the heartbeat before it wait in the station's socket until it comes to itself."""
    await people.see("door", lambda status: not is_open(status))
    await people.call()
    door = people.house.supervisor._processes["door"]
    door.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ControlError, match="may have opened"):
            await people.house.ask("flat", "door", station="door")
        await asyncio.sleep(0.5)
    finally:
        door.send_signal(signal.SIGCONT)
    refusal = await people.journal("door", "DOOR_REFUSED")
    assert refusal["REASON"].startswith("it came")
    assert not is_open(await people.house.status("door"))
    await people.house.ask("flat", "door", station="door")
    await people.see("door", is_open)


async def test_a_listed_caller_is_announced_then_heard_and_the_lamp_tells_the_truth(people: People) -> None:
    await people.press("kitchen", "call")
    ringing = await people.phase("flat", "ringing")
    assert ringing["call"]["auto"]
    assert not ringing["panel"]["leds"]["microphone"]
    assert not ringing["audio"]["capture"]["open"]
    await people.see("flat", sounds)
    await people.phase("flat", "connected")
    status = await people.see("flat", lambda status: status["panel"]["leds"]["microphone"])
    assert status["audio"]["capture"]["open"]
    assert status["text"]["en"].startswith("The microphone is open")
    await people.journal("flat", "CALL_AUTO_ANSWERED")
    await people.press("flat", "call")
    await people.see("flat", lambda status: status["call"] is not None and not status["call"]["auto"])
    await people.press("flat", "hangup")
    await people.phase("kitchen", "idle")
    await people.see("flat", lambda status: not status["panel"]["leds"]["microphone"])


async def test_who_is_not_listed_is_not_answered(people: People) -> None:
    await people.press("door", "call")
    await people.phase("flat", "ringing")
    await asyncio.sleep(2.5)
    assert (await people.house.status("flat"))["phase"] == "ringing"
    assert (await people.house.status("flat"))["call"]["auto"] is False


async def test_who_does_not_want_to_be_disturbed_is_not_rung(people: People) -> None:
    await people.house.ask("flat", "dnd", on=True, minutes=5)
    try:
        await people.press("door", "call")
        failed = await people.see("door", lambda status: status["error"] is not None)
        assert failed["error"]["code"] == "CALLEE_BUSY"
        assert (await people.house.status("flat"))["phase"] == "idle"
    finally:
        await people.house.ask("flat", "dnd", on=False)
    await people.press("door", "hangup")
    await people.press("door", "call")
    await people.phase("flat", "ringing")


async def test_what_is_asked_wrongly_of_the_hub_is_refused_here(people: People) -> None:
    for command, arguments in (
        ("dnd", {}), ("dnd", {"on": "yes"}), ("dnd", {"on": True, "minutes": 0}), ("dnd", {"on": False, "minutes": 5}),
        ("dnd", {"on": True, "minutes": True}), ("door", {"station": ""}), ("door", {"station": 7}),
    ):  # fmt: skip
        with pytest.raises(ControlError):
            await people.house.ask("flat", command, **arguments)
