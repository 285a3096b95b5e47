"""What people at the stations do and see, and whether two people hear each other."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout

from intercomd.demo.control import ControlError
from intercomd.demo.house import HUB, House, _healthy
from intercomd.demo.listen import SAME_VOICE, find, read_raw, read_wav
from intercomd.demo.page_scene import VOICE
from intercomd.demo.resident import Resident
from intercomd.demo.sound import sentence
from intercomd.hub.admin import _ask
from intercomd.hub.office import Order, socket_path

ON_THE_PAGE = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.platform("chromium", "pulseaudio"),
    pytest.mark.timeout(90),
]
"""Marks of every module here: one event loop for all, since one Chromium serves all."""
LIMIT_S = 20.0
LOOK_S = 0.03
SPEECH_S = 4.0
TRIES = 3
SINKS = {"door": "door_spk", "flat": "flat_handset", "kitchen": "kitchen_spk"}

Status = dict[str, Any]


class Scene:
    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self._folder = folder

    async def ask(self, station: str, command: str, **arguments: Any) -> None:
        await self.house.ask(station, command, **arguments)

    async def see(self, station: str, so: Callable[[Status], bool], limit_s: float = LIMIT_S) -> Status:
        """Poll until the station's status is so. A daemon that is away is waited for."""
        status: Status = {}
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            try:
                status = await self.house.status(station)
            except ControlError:
                status = {}
            if status and so(status):
                return status
            await asyncio.sleep(LOOK_S)
        raise AssertionError(f"{station} stays {status.get('phase')}, error {status.get('error')}")

    async def phase(self, station: str, phase: str, limit_s: float = LIMIT_S) -> Status:
        return await self.see(station, lambda status: status["phase"] == phase, limit_s)

    async def in_epoch(self, station: str, epoch: int) -> Status:
        return await self.see(station, lambda status: (status["call"] or {}).get("epoch") == epoch)

    async def quiet(self) -> None:
        for station in self.house.stations:
            for _ in range(3):
                status = await self.see(station.name, lambda status: status["link"]["state"] == "registered")
                if status["phase"] == "idle" and status["error"] is None:
                    break
                with suppress(ControlError):  # it has ended by itself meanwhile
                    await self.ask(station.name, "hangup")
                await asyncio.sleep(LOOK_S)
            await self.see(station.name, lambda status: status["phase"] == "idle" and status["error"] is None)

    async def call(self, person: Resident, station: str = "door", name: str = "tenant") -> str:
        """The station calls, the person answers; the call's id."""
        await self.ask(station, "call", peer=name)
        await person.phase("ringing_in")
        await person.answer()
        await person.phase("connected")
        return str((await self.phase(station, "connected"))["call"]["callId"])

    async def talk(self, person: Resident, station: str = "door", seconds_s: float = SPEECH_S) -> tuple[float, float]:
        """How well the page hears the station, and the station the page: correlations, of both at once."""
        recorded = self._folder / f"{station}-{time.monotonic_ns()}.raw"
        with self.house.rig.record(SINKS[station], recorded):
            page = await person.hear(seconds_s)
        said = sentence(self.house.rig.stations.index(station))
        return (
            find(read_wav(said), page).correlation,
            find(read_wav(sentence(VOICE)), read_raw(recorded)).correlation,
        )

    async def hear_each_other(self, person: Resident, station: str = "door") -> None:
        """Within three sentences: on a crowded machine the first may have holes."""
        best = (0.0, 0.0)
        for _ in range(TRIES):
            best = max(best, await self.talk(person, station), key=min)
            if min(best) >= SAME_VOICE:
                return
        raise AssertionError(f"the page hears the {station} by {best[0]}, the {station} the page by {best[1]}")

    def signal(self, station: str, number: int) -> None:
        self.house.supervisor._processes[station].send_signal(number)

    @asynccontextmanager
    async def without_hub(self) -> AsyncIterator[None]:
        await self.house.supervisor.stop(HUB)
        try:
            yield
        finally:
            start_hub(self.house)
            async with ClientSession(timeout=ClientTimeout(total=LIMIT_S)) as session:
                await self.house.until("the hub serves", lambda: _healthy(session, self.house.household.hub_url))


def start_hub(house: House) -> None:
    house.supervisor.start(house._program(HUB, "hub", house.household.hub_config))


async def add_station(house: House, name: str) -> str:
    """Its token."""
    result = await _ask(socket_path(house.household.hub_database), Order("add-station", name))
    assert result.token, result.message
    return result.token
