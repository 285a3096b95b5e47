"""Who may speak: push-to-talk, and half duplex, each through running daemons, with the lamp that tells of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from intercomd.demo.house import House
from tests.e2e.test_station import People, nothing_left_behind, nothing_left_of_the_household

__all__ = ["nothing_left_behind", "nothing_left_of_the_household"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
    pytest.mark.platform("pulseaudio"),
]
HEARD_DBFS = -50.0


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["push-to-talk", "half-duplex"])
async def mode(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, People]]:
    audio = {"push_to_talk": True} if request.param == "push-to-talk" else {"processing": "half-duplex"}
    async with House(ring_timeout_s=20, pause_s=0.3, changed={"audio": audio}) as house:
        people = People(house)
        await people.quiet()
        yield request.param, people


def lamp(status: dict[str, Any]) -> str:
    pattern: str = status["panel"]["patterns"]["microphone"]
    return pattern


def is_open(status: dict[str, Any]) -> bool:
    return bool(status["audio"]["capture"]["open"])


def hears(status: dict[str, Any]) -> bool:
    level: float = status["audio"]["playout"]["level_dbfs"]
    return level > HEARD_DBFS


async def test_who_speaks_and_what_the_lamp_tells(mode: tuple[str, People]) -> None:
    name, people = mode
    await people.call()
    if name == "push-to-talk":
        await _pushed(people)
    else:
        await _ducked(people)
    await people.press("flat", "hangup")
    for station in ("door", "flat"):
        idle = await people.see(station, lambda status: status["phase"] == "idle" and not is_open(status))
        assert lamp(idle) == "off"


async def _pushed(people: People) -> None:
    """The microphone is open while the button is held, no longer, and the far end hears it."""
    for station in ("door", "flat"):
        await people.see(station, lambda status: not is_open(status) and lamp(status) == "off" and not hears(status))
    await people.house.ask("door", "drive", button="speaker", pressed=True)
    await people.see("door", lambda status: is_open(status) and lamp(status) == "on")
    flat = await people.see("flat", hears)
    assert not is_open(flat)
    assert lamp(flat) == "off"
    await people.house.ask("flat", "drive", button="speaker", pressed=True)
    await people.see("flat", lambda status: is_open(status) and not hears(status))
    await people.house.ask("flat", "drive", button="speaker", pressed=False)
    await people.see("flat", lambda status: not is_open(status) and lamp(status) == "off")
    await people.house.ask("door", "drive", button="speaker", pressed=False)
    door = await people.see("door", lambda status: not is_open(status) and lamp(status) == "off")
    assert door["phase"] == "connected"
    assert not door["panel"]["leds"]["microphone"]
    await people.see("flat", lambda status: not hears(status))


async def _ducked(people: People) -> None:
    """Whoever speaks first has the line: the lamp blinks, and the other one's words come through once the line is
    free."""
    for station in ("door", "flat"):
        status = await people.see(station, lambda status: is_open(status) and lamp(status) == "slow")
        assert status["audio"]["half_duplex"]
        assert status["audio"]["processing"] == ["highpass", "half-duplex"]
    people.house.cards.hush("flat")
    await people.see("flat", hears)
    people.house.cards.hush("door")
    await people.see("flat", lambda status: not hears(status))
    people.house.cards.speak("flat")
    await people.see("door", hears)
    people.house.cards.speak("door")
