"""What boards have beside the three buttons: a handset's hook, volume buttons, a door opener."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from intercomd.demo.control import ControlError
from intercomd.demo.house import House
from tests.e2e.test_station import People, nothing_left_behind, nothing_left_of_the_household, sounds

__all__ = ["nothing_left_behind", "nothing_left_of_the_household"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
    pytest.mark.platform("pulseaudio"),
]
PANEL = {
    "buttons": {"hook": 25, "volume_up": 23, "volume_down": 24},
    "outputs": {"door": 12},
    "door_open_s": 0.5,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def people() -> AsyncIterator[People]:
    async with House(ring_timeout_s=20, changed={"panel": PANEL}) as house:
        people = People(house)
        await people.quiet()
        yield people


async def test_lifting_the_handset_answers_and_putting_it_down_hangs_up(people: People) -> None:
    await people.house.ask("flat", "drive", button="hook", pressed=True)
    await people.press("door", "call")
    await people.phase("flat", "ringing")
    await people.house.ask("flat", "drive", button="hook", pressed=False)
    await people.phase("door", "connected")
    await people.phase("flat", "connected")
    await people.house.ask("flat", "drive", button="hook", pressed=True)
    await people.phase("door", "idle")
    await people.phase("flat", "idle")


async def test_a_station_that_is_looked_for_flashes_and_sounds(people: People) -> None:
    await people.house.ask("flat", "locate")
    status = await people.see("flat", sounds)
    patterns = status["panel"]["patterns"]
    assert {led for led, light in patterns.items() if light == "fast"} == {*patterns} - {"microphone"}
    assert status["phase"] == "idle"
    await people.press("door", "call")
    await people.see("flat", lambda status: status["panel"]["patterns"]["talking"] == "off")
    with pytest.raises(ControlError, match="in a call"):
        await people.house.ask("flat", "locate")
    await people.press("door", "hangup")
    await people.phase("flat", "idle")


async def test_a_station_that_is_proven_calls_nobody_and_hears_itself(people: People) -> None:
    await people.house.ask("flat", "prove", led="ringing")
    await people.see("flat", lambda status: status["panel"]["leds"]["ringing"])
    await people.press("flat", "call")
    await people.house.ask("flat", "prove", sound=True)
    await people.see("flat", lambda status: status["panel"]["leds"]["microphone"])
    status = await people.see("flat", lambda status: status["proof"]["sound"]["state"] == "heard")
    assert status["phase"] == "idle", "the press counted for nothing"
    await people.house.ask("flat", "prove", end=True)
    await people.see("flat", lambda status: status["panel"]["leds"]["ready"])


async def test_volume_buttons_change_what_is_heard_now(people: People) -> None:
    await people.press("flat", "volume_down")
    status = await people.see("flat", lambda status: status["audio"]["volumes"]["ring"] == 90)
    assert status["audio"]["volumes"]["voice"] == 100
    await people.press("flat", "volume_up")
    await people.see("flat", lambda status: status["audio"]["volumes"]["ring"] == 100)


async def test_the_door_opener_is_told_shown_and_goes_off_by_itself(people: People) -> None:
    await people.house.ask("door", "door")
    await people.see("door", lambda status: status["panel"]["outputs"] == {"door": True})
    assert (await people.journal("door", "DOOR_OPENED"))["REASON"] == "for 0.5 s, asked for at this station"
    status = await people.see("door", lambda status: status["panel"]["outputs"] == {"door": False}, 3.0)
    assert "door" not in status["panel"]["leds"]
