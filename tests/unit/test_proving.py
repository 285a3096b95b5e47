"""An installer proves a station: buttons that count for nothing, one LED at a time, and ears that hear themselves."""

import asyncio
from types import SimpleNamespace
from typing import Any

from intercomd.core.effects import Jingle, Light
from intercomd.core.events import Card
from intercomd.device.proving import PROVING_S, Proving
from intercomd.ports import Levels
from tests.unit.jumping_loop import jumping

IDLE = SimpleNamespace(call=None, card=Card.READY)
IN_CALL = SimpleNamespace(call=SimpleNamespace(call_id="c1"), card=Card.READY)
SHOWN = {"ready": Light.ON, "talking": Light.OFF, "microphone": Light.OFF}


class Room:
    """A card in a room: what the loudspeaker plays is in the microphone for 400 ms."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, opens: bool = True, hears: bool = True) -> None:
        self._loop, self._opens, self._hears = loop, opens, hears
        self.open = False
        self.played_s: list[float] = []

    def open_microphone(self) -> None:
        self.open = True

    def close_microphone(self) -> None:
        self.open = False

    def play(self, jingle: Jingle) -> None:
        assert self.open, "nobody listens"
        self.played_s.append(self._loop.time())

    def levels(self) -> Levels:
        loud = self._hears and any(0 <= self._loop.time() - at_s < 0.4 for at_s in self.played_s)
        return Levels(capture_open=self.open and self._opens, capture_dbfs=-24.0 if loud else -57.0)


class Desk:
    def __init__(self, **room: bool) -> None:
        loop = asyncio.get_running_loop()
        self.room = Room(loop, **room)
        self.changes = 0
        self.proving = Proving(loop, lambda: self.room, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def order(self, station: Any = IDLE, **what: object) -> str | None:
        return self.proving.command(what, station)

    async def heard(self) -> dict[str, Any]:
        self.order(sound=True)
        assert self.proving.status()["sound"] == {"state": "listening"}
        await asyncio.sleep(8)
        found: dict[str, Any] = self.proving.status()["sound"]
        return found


@jumping
async def test_the_station_hears_its_own_loudspeaker_and_closes_its_microphone() -> None:
    desk = Desk()
    assert await desk.heard() == {"state": "heard", "quiet_dbfs": -57.0, "sound_dbfs": -24.0}
    assert len(desk.room.played_s) == 3
    assert not desk.room.open


@jumping
async def test_a_loudspeaker_that_is_not_connected_is_not_heard() -> None:
    assert await Desk(hears=False).heard() == {"state": "heard", "quiet_dbfs": -57.0, "sound_dbfs": -57.0}


@jumping
async def test_a_microphone_that_does_not_open_ends_the_listening() -> None:
    desk = Desk(opens=False)
    assert await desk.heard() == {"state": "failed"}
    assert not desk.room.open
    assert not desk.room.played_s


@jumping
async def test_a_call_comes_first() -> None:
    desk = Desk()
    desk.order(sound=True)
    await asyncio.sleep(1)
    desk.proving.end()
    assert not desk.room.open
    assert not desk.proving.active
    await asyncio.sleep(8)
    assert not desk.room.played_s
    for what in ({"sound": True}, {"led": "ready"}, {}):
        assert desk.order(IN_CALL, **what) == "this station is in a call"
    assert not desk.proving.active
    assert desk.order(IN_CALL, end=True) is None


@jumping
async def test_without_a_card_nothing_is_listened_to() -> None:
    desk = Desk()
    missing = SimpleNamespace(call=None, card=Card.MISSING)
    assert desk.order(missing, sound=True) == "the sound card is not ready"
    assert desk.order(missing, led="ready") is None, "LEDs need none"


@jumping
async def test_one_led_at_a_time_and_the_microphones_own() -> None:
    desk = Desk()
    assert desk.proving.lights(SHOWN) == SHOWN
    desk.order(led="talking")
    assert desk.proving.lights(SHOWN) == {"ready": Light.OFF, "talking": Light.ON, "microphone": Light.OFF}
    desk.order(led="microphone")
    assert set(desk.proving.lights(SHOWN).values()) == {Light.OFF}
    assert desk.proving.lights(SHOWN | {"microphone": Light.ON})["microphone"] is Light.ON


@jumping
async def test_an_installer_who_has_gone_leaves_a_station_that_works() -> None:
    desk = Desk()
    desk.order()
    await asyncio.sleep(PROVING_S - 1)
    assert desk.proving.active
    await asyncio.sleep(2)
    assert not desk.proving.active
    assert desk.proving.lights(SHOWN) == SHOWN


@jumping
async def test_a_second_order_does_not_play_over_the_first() -> None:
    desk = Desk()
    desk.order(sound=True)
    await asyncio.sleep(1)
    desk.order(sound=True)
    await asyncio.sleep(8)
    assert len(desk.room.played_s) == 3
