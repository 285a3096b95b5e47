"""Hands and eyes at the stations of a house, as light on the stations as can be: one connection each, and what edges
and statuses say of themselves is what is measured, never when we saw it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from intercomd.demo.control import Control, ControlError
from intercomd.demo.edges import Edge, Edges
from intercomd.demo.house import House
from intercomd.demo.supervisor import Program

PRESS_S = 0.06
"""Longer than the debounce of 50 ms."""
LOOK_S = 0.02
LIMIT_S = 15.0

Status = dict[str, Any]


class Late(Exception):
    """Something did not come in time."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One call's times in seconds: press → the callee's ringing LED, answer → first voice at the caller and callee."""

    ring_s: float
    caller_heard_s: float
    callee_heard_s: float

    @property
    def both_heard_s(self) -> float:
        return max(self.caller_heard_s, self.callee_heard_s)


class Hands:
    """For stations that are not restarted meanwhile."""

    def __init__(self, controls: dict[str, Control], edges: Edges) -> None:
        self._controls = controls
        self._edges = edges
        self._dice = random.Random(2)

    async def press(self, station: str, button: str) -> Edge:
        """Returns the edge of the press; to be released."""
        since_ns = time.monotonic_ns()
        await self._controls[station].ask({"command": "drive", "button": button, "pressed": True})
        return await self.edge(station, button, since_ns)

    async def release(self, station: str, button: str) -> None:
        await asyncio.sleep(PRESS_S)
        await self._controls[station].ask({"command": "drive", "button": button, "pressed": False})
        await asyncio.sleep(PRESS_S)

    async def edge(self, station: str, line: str, since_ns: int) -> Edge:
        """The first rising one since then."""
        wanted = (station, line, True)
        try:
            return await self._edges.first(
                lambda edge: edge.at_ns >= since_ns and (edge.station, edge.line, edge.value) == wanted, LIMIT_S
            )
        except TimeoutError:
            stand = "; ".join([await self._stand(name) for name in self._controls])
            raise Late(f"{station}'s line {line} did not rise within {LIMIT_S:g} s: {stand}") from None

    async def see(self, station: str, what: str, so: Callable[[Status], Any]) -> Status:
        """Poll until the status is so."""
        deadline_s = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline_s:
            status: Status = (await self._controls[station].ask({"command": "status"}))["status"]
            if so(status):
                return status
            await asyncio.sleep(LOOK_S)
        raise Late(f"{station} {what}: not within {LIMIT_S:g} s; it shows {status['phase']}, error {status['error']}")

    async def call(self, caller: str, callee: str) -> Answered:
        """Press, ring, answer, until both hear each other's voice."""
        pressed = await self.press(caller, "call")
        rang = await self.edge(callee, "ringing", pressed.at_ns)
        await self.release(caller, "call")
        await asyncio.sleep(self._dice.uniform(0.02, 0.05))  # people are not in step with our periods
        answered = await self.press(callee, "call")
        heard = [await self._heard_s(station, answered.at_ns) for station in (caller, callee)]
        await self.release(callee, "call")
        return Answered((rang.at_ns - pressed.at_ns) / 1e9, heard[0], heard[1])

    async def hang_up(self, by: str, stations: Sequence[str]) -> None:
        await self.press(by, "hangup")
        for station in stations:
            await self.see(station, "is idle", lambda status: status["phase"] == "idle")
        await self.release(by, "hangup")
        self._edges.seen.clear()

    async def _stand(self, station: str) -> str:
        try:
            status: Status = (await self._controls[station].ask({"command": "status"}))["status"]
        except ControlError as error:
            return f"{station}: {error}"
        return f"{station}: {status['phase']}, link {status['link']['state']}, error {status['error']}"

    async def _heard_s(self, station: str, since_ns: int) -> float:
        """From then to the first voice out of the station's decoder."""

        def heard_ns(status: Status) -> int:
            return int(status["audio"]["playout"]["first_voice_t_ns"] or 0)

        status = await self.see(station, "hears the other one", lambda status: heard_ns(status) > since_ns)
        return (heard_ns(status) - since_ns) / 1e9


@asynccontextmanager
async def hands(house: House, stations: Sequence[str]) -> AsyncIterator[Hands]:
    """Hands at these stations."""
    plans = [house.household.station(name) for name in stations]
    async with AsyncExitStack() as stack:
        edges = await stack.enter_async_context(Edges(plans))
        await edges.following(LIMIT_S)
        controls = {plan.name: await stack.enter_async_context(Control(plan.control)) for plan in plans}
        yield Hands(controls, edges)


async def seen(house: House, station: str, so: Callable[[Status], Any], what: str) -> Status:
    """Poll a station that may be away for a while."""
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        try:
            status = await house.status(station)
        except ControlError:
            await asyncio.sleep(LOOK_S)
            continue
        if so(status):
            return status
        await asyncio.sleep(LOOK_S)
    raise Late(f"{station} {what}: not within {LIMIT_S:g} s")


def station_program(house: House, station: str) -> Program:
    """What the house runs for it."""
    return house._program(station, "device", house.household.station(station).config)


async def start_afresh(house: House, station: str) -> None:
    """End the station and start it again, its supervisor's restart delay at the shortest."""
    await house.supervisor.stop(station)
    house.supervisor.start(station_program(house, station))
    await house.until(f"{station} is ready", lambda: house.is_ready(station))
