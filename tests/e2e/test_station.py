"""Real stations and a real hub on one machine: a call from press to hang-up, and every fault of the station with its
LED, its phase and its one named line in the journal."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from intercomd.demo.control import ControlError
from intercomd.demo.house import HUB, House

LIMIT_S = 15.0
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.platform("pulseaudio"),
]


class People:
    """What people do and see at the stations of a household."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.since = time.time()

    async def press(self, station: str, button: str) -> None:
        await self.house.ask(station, "drive", button=button, pressed=True)
        await asyncio.sleep(0.06)
        await self.house.ask(station, "drive", button=button, pressed=False)
        await asyncio.sleep(0.06)

    async def see(
        self, station: str, what: Callable[[dict[str, Any]], bool], limit_s: float = LIMIT_S
    ) -> dict[str, Any]:
        """Poll until the station's status is so; returns it."""
        status: dict[str, Any] = {}
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            try:
                status = await self.house.status(station)
            except ControlError:
                await asyncio.sleep(0.02)
                continue
            if what(status):
                return status
            await asyncio.sleep(0.02)
        raise AssertionError(f"{station} stays {status}")

    async def phase(self, station: str, phase: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        return await self.see(station, lambda status: status["phase"] == phase, limit_s)

    async def journal(self, station: str, code: str, limit_s: float = LIMIT_S) -> dict[str, str]:
        """The fields of the newest line with this code since the test began."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for line in reversed(tuple(self.house.journal.lines())):
                if line.source == station and line.fields.get("ERROR_CODE") == code and line.at_s >= self.since:
                    return {**line.fields, "MESSAGE": line.message}
            await asyncio.sleep(0.02)
        raise AssertionError(f"{station} has not written {code}")

    async def call(self, caller: str = "door", callee: str = "flat") -> None:
        await self.press(caller, "call")
        await self.phase(callee, "ringing")
        await self.press(callee, "call")
        await self.phase(caller, "connected")
        await self.phase(callee, "connected")

    async def quiet(self) -> None:
        """Everybody idle and without an error, whatever a test has left."""
        for station in self.house.stations:
            await self.house.cards.plug(station.name, True)
            await self.house.until(f"{station.name} is ready", lambda name=station.name: self.house.is_ready(name))
            for _ in range(2):
                status = await self.house.status(station.name)
                if status["phase"] != "idle" or status["error"]:
                    await self.press(station.name, "hangup")
            await self.see(station.name, lambda status: status["phase"] == "idle" and status["error"] is None)


def sounds(status: dict[str, Any]) -> bool:
    """Something is to be heard at the station: a tone or a voice."""
    level: float = status["audio"]["playout"]["level_dbfs"]
    return level > -50


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Not per test: the household outlives them, and its restarted children have new pipes. It is checked once, after
    the household has gone."""


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_the_household() -> Iterator[None]:
    before, children = len(os.listdir("/proc/self/fd")), set(our_children())
    yield
    assert set(our_children()) <= children, "the database of other tests may run; nothing of the household does"
    assert len(os.listdir("/proc/self/fd")) <= before


def our_children() -> list[str]:
    """Our child processes (proc(5): the `children` file of each task)."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house() -> AsyncIterator[House]:
    async with House(ring_timeout_s=20) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def people(house: House) -> AsyncIterator[People]:
    people = People(house)
    await people.quiet()
    yield people
    await people.quiet()


async def test_a_call_from_press_to_hang_up(people: People) -> None:
    await people.press("door", "call")
    ringing = await people.phase("flat", "ringing")
    assert ringing["panel"]["patterns"]["ringing"] == "fast"
    assert (await people.phase("door", "ringing"))["text"]["zh"] == "等待对方接听…"
    for station in ("door", "flat"):
        await people.see(station, sounds)
    await people.press("flat", "call")
    door, flat = await people.phase("door", "connected"), await people.phase("flat", "connected")
    assert door["call"]["callId"] == flat["call"]["callId"]
    status = await people.see("flat", lambda status: status["panel"]["leds"]["microphone"])
    assert status["panel"]["leds"]["talking"]
    await people.see("flat", sounds)
    route = status["audio"]["route"]
    await people.press("flat", "speaker")
    await people.see("flat", lambda status: status["audio"]["route"] != route)
    await people.press("flat", "hangup")
    await people.phase("door", "idle")
    ended = await people.see("flat", lambda status: not status["panel"]["leds"]["microphone"])
    assert ended["phase"] == "idle"
    fields = await people.journal("door", "CALL_ENDED")
    assert {"CALL_ID", "PEER", "EPOCH", "REASON", "JITTER_MS", "NETWORK"} <= set(fields)


@pytest.mark.parametrize("who", ["door", "flat"])
async def test_hang_up_while_it_rings(people: People, who: str) -> None:
    await people.press("door", "call")
    await people.phase("flat", "ringing")
    await people.press(who, "hangup")
    await people.phase("flat", "idle")
    await people.phase("door", "idle")


@pytest.mark.parametrize("who", ["door", "flat"])
async def test_hang_up_at_once_after_the_answer(people: People, who: str) -> None:
    await people.press("door", "call")
    await people.phase("flat", "ringing")
    await people.house.ask("flat", "answer")
    await people.house.ask(who, "hangup")
    await people.phase("flat", "idle")
    await people.phase("door", "idle")


@pytest.mark.parametrize("who", ["door", "flat"])
async def test_hang_up_while_it_reconnects(people: People, who: str) -> None:
    await people.call()
    other = "flat" if who == "door" else "door"
    await people.house.supervisor.stop(HUB)
    people.house.supervisor.kill(other)
    await people.phase(who, "reconnecting")
    await people.press(who, "hangup")
    await people.phase(who, "idle")
    start_hub(people.house)
    await people.phase(other, "idle", 40)


async def test_both_call_each_other_at_once(people: People) -> None:
    await asyncio.gather(people.press("door", "call"), people.press("flat", "call"))
    door, flat = await people.phase("door", "connected"), await people.phase("flat", "connected")
    assert door["call"]["callId"] == flat["call"]["callId"]


async def test_a_bouncing_press_is_one_press(people: People) -> None:
    for pressed in (True, False) * 8:
        await people.house.ask("door", "drive", button="call", pressed=pressed)
    await people.phase("flat", "ringing")
    for pressed in (True, False) * 8:
        await people.house.ask("flat", "drive", button="call", pressed=pressed)
    await people.phase("flat", "connected")
    dialled = [
        line
        for line in people.house.journal.lines()
        if line.fields.get("ERROR_CODE") == "CALL_DIALLED" and line.source == "door" and line.at_s >= people.since
    ]
    assert len(dialled) == 1


async def test_a_pulled_card_is_named_and_comes_back(people: People) -> None:
    await people.call()
    await people.house.cards.plug("flat", False)
    status = await people.see("flat", lambda status: status["audio"]["card"] == "missing")
    assert status["panel"]["patterns"]["error"] == "flash_2"
    assert status["error"]["kind"] == "NotFoundError"
    assert status["phase"] == "connected", "the call goes on without sound"
    assert "flat_" in (await people.journal("flat", "CARD_VANISHED"))["REASON"]
    plugged_at = time.monotonic()
    await people.house.cards.plug("flat", True)
    await people.see("flat", lambda status: status["audio"]["card"] == "ready")
    assert time.monotonic() - plugged_at < 5
    await people.see("flat", lambda status: status["panel"]["leds"]["microphone"])


async def test_a_call_without_a_card_waits_then_fails_by_name_and_can_be_retried(people: People) -> None:
    await people.house.cards.plug("door", False)
    await people.see("door", lambda status: status["audio"]["card"] == "missing")
    await people.press("door", "call")
    assert (await people.house.status("door"))["phase"] == "permission"
    failed = await people.see("door", lambda status: status["phase"] == "idle")
    assert failed["error"]["code"] == "CARD_MISSING"
    await people.journal("door", "CARD_MISSING")
    await people.house.cards.plug("door", True)
    await people.see("door", lambda status: status["audio"]["card"] == "ready")
    await people.press("door", "call")
    await people.phase("flat", "ringing")


async def test_a_call_to_nobody_fails_by_name(people: People) -> None:
    await people.house.ask("door", "call", peer="attic")
    status = await people.see("door", lambda status: status["error"] is not None)
    assert status["error"]["code"] in ("CALL_NOT_ALLOWED", "CALLEE_OFFLINE")
    assert status["panel"]["patterns"]["error"].startswith("flash_")
    await people.see("door", sounds)
    await people.journal("door", status["error"]["code"])


async def test_a_hub_that_dies_in_a_call_does_not_touch_it(people: People) -> None:
    await people.call()
    people.house.supervisor.kill(HUB)
    await people.see("door", lambda status: status["link"]["state"] != "registered")
    await asyncio.sleep(1.5)
    status = await people.house.status("door")
    assert status["phase"] == "connected"
    assert status["audio"]["playout"]["level_dbfs"] > -90
    await people.journal("door", "HUB_LOST")
    await people.see("door", lambda status: status["link"]["state"] == "registered")
    assert (await people.house.status("flat"))["call"]["callId"] == status["call"]["callId"]


async def test_a_call_without_a_hub_fails_as_network_error(people: People) -> None:
    await people.house.supervisor.stop(HUB)
    try:
        await people.see("door", lambda status: status["link"]["state"] != "registered")
        await people.press("door", "call")
        status = await people.see("door", lambda status: status["error"] is not None, 20)
        assert status["error"]["kind"] == "NetworkError"
        assert status["panel"]["patterns"]["error"] == "flash_3"
        await people.journal("door", "HUB_UNREACHABLE")
    finally:
        start_hub(people.house)
    await people.see("door", lambda status: status["link"]["state"] == "registered")


async def test_a_station_starts_without_a_hub_and_finds_it_later(people: People) -> None:
    await people.house.supervisor.stop(HUB)
    people.house.supervisor.kill("door")
    status = await people.see(
        "door", lambda status: status["audio"]["card"] == "ready" and status["link"]["state"] != "up"
    )
    assert status["panel"]["patterns"]["ready"] == "slow"
    start_hub(people.house)
    await people.see("door", lambda status: status["link"]["state"] == "registered")


async def test_a_wrong_token_is_told_and_a_renewed_one_is_taken_without_a_restart(people: People) -> None:
    plan = people.house.household.station("kitchen")
    token = plan.token.read_text()
    plan.token.write_text("wrong-token-wrong-token-wrong-token\n")
    try:
        people.house.supervisor.kill("kitchen")
        await people.journal("kitchen", "HUB_REFUSED")
        status = await people.see("kitchen", lambda status: status["error"] is not None)
        assert status["error"]["code"] == "HUB_REFUSED"
        assert status["panel"]["patterns"]["error"] == "flash_5"
    finally:
        plan.token.write_text(token)
    await people.see("kitchen", lambda status: status["link"]["state"] == "registered", 60)


async def test_a_missing_gpio_chip_is_named_and_the_rest_works(people: People) -> None:
    plan = people.house.household.station("kitchen")
    config = plan.config.read_text()
    plan.config.write_text(config.replace('pin_factory = "mock"', 'pin_factory = "lgpio"'))
    try:
        people.house.supervisor.kill("kitchen")
        await people.journal("kitchen", "GPIO_MISSING")
        await people.see("kitchen", lambda status: status["link"]["state"] == "registered")
        assert (await people.house.status("kitchen"))["error"]["code"] == "GPIO_MISSING"
        await people.house.ask("kitchen", "call", peer="flat")
        await people.phase("flat", "ringing")
        await people.house.ask("kitchen", "hangup")
    finally:
        plan.config.write_text(config)
        people.house.supervisor.kill("kitchen")


async def test_sigterm_is_a_restart_not_a_hang_up(people: People) -> None:
    await people.call()
    before = (await people.house.status("flat"))["call"]["callId"]
    people.house.supervisor._processes["flat"].send_signal(signal.SIGTERM)
    await people.journal("flat", "STATION_STOPPED")
    await people.journal("flat", "CALL_RESTORED")
    assert (await people.phase("flat", "connected"))["call"]["callId"] == before


@pytest.mark.parametrize("who", ["door", "flat"])
async def test_a_killed_station_comes_back_into_its_call(people: People, who: str) -> None:
    await people.call()
    other = "flat" if who == "door" else "door"
    before = (await people.house.status(who))["call"]["callId"]
    people.house.supervisor.kill(who)
    await people.journal(who, "CALL_RESTORED")
    back = await people.phase(who, "connected")
    assert back["call"]["callId"] == before
    assert back["call"]["epoch"] == 2
    assert (await people.phase(other, "connected"))["call"]["epoch"] == 2


async def test_a_killed_station_still_rings_when_it_is_back(people: People) -> None:
    await people.press("door", "call")
    await people.phase("flat", "ringing")
    people.house.supervisor.kill("flat")
    await people.journal("flat", "STATION_STARTED")
    await people.phase("flat", "ringing")
    await people.press("flat", "call")
    await people.phase("door", "connected")


async def test_volumes_are_heard_and_outlive_a_power_cut(people: People) -> None:
    await people.house.ask("door", "volume", kind="ring", percent=0)
    people.house.supervisor.kill("door")  # what was called done lies on flash
    await people.house.until("door is back", lambda: people.house.is_ready("door"))
    status = await people.see("door", lambda status: status["audio"]["volumes"]["ring"] == 0)
    assert status["audio"]["volumes"] == {"voice": 100, "ring": 0, "prompts": 100}
    await people.press("flat", "call")
    await people.phase("door", "ringing")
    await people.see("flat", sounds)
    assert not sounds(await people.house.status("door"))
    await people.house.ask("door", "volume", percent=100)
    await people.see("door", sounds)
    await people.press("flat", "hangup")
    await people.phase("door", "idle")


async def test_control_answers_everything_it_is_asked(people: People) -> None:
    for command, arguments in (
        ("call", {}), ("call", {"peer": 7}), ("call", {"peer": "x" * 999}), ("dance", {}), ("answer", {}),
        ("drive", {"button": "bell", "pressed": True}),
    ):  # fmt: skip
        with pytest.raises(ControlError):
            await people.house.ask("door", command, **arguments)
    assert (await people.house.status("door"))["phase"] == "idle"


def start_hub(house: House) -> None:
    house.supervisor.start(house._program(HUB, "hub", house.household.hub_config))
