"""The household alive: the sound rig, the hub and the stations under their supervisor, and people who speak.

`async with House() as house:` Everything ends with it; when the process is killed, the kernel ends the rest.
"""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout

from intercomd.demo.cards import RigCards
from intercomd.demo.control import ControlError, ask
from intercomd.demo.household import GROUP, RING_TIMEOUT_S, Household, StationPlan, Tables, keep_token, lay_out, plan
from intercomd.demo.journal import Journal
from intercomd.demo.sound import SoundRig
from intercomd.demo.supervisor import SETTLED_S, Program, Supervisor
from intercomd.hub.office import Order, Result, socket_path
from intercomd.hub.people.rights import Action

HUB = "hub"
COMMAND_LIMIT_S = 30.0
START_LIMIT_S = 40.0
"""Three stations that start at once on one slow core; on two fast ones it takes about 2 s."""
LOOK_S = 0.05
MAX_ROOT_CHARS = 88
"""unix(7): a socket's path has 107 characters at most; ours add up to 19."""
PAUSE_S = 1.0
NOT_FOR_CHILDREN = ("INTERCOMD_CONTROL", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY")
"""They would make all stations share one socket, or talk to the service manager in our place."""


class HouseError(Exception):
    """The household does not come up; the text says which part and what it said."""


class House:
    """To be entered in the main thread, with the event loop running there."""

    def __init__(
        self,
        *,
        ring_timeout_s: float = RING_TIMEOUT_S,
        pause_s: float = PAUSE_S,
        keep: bool = False,
        changed: Tables | None = None,
        settled_s: float = SETTLED_S,
    ) -> None:
        """`changed`: configuration that differs from a demo's (`lay_out`). `settled_s`: after what life a dead daemon
        is started again at once."""
        self._ring_timeout_s = ring_timeout_s
        self._changed = changed
        self._pause_s = pause_s
        self._keep = keep
        self._stack = AsyncExitStack()
        self.journal = Journal()
        self.supervisor = Supervisor(self.journal, settled_s)
        self.household: Household
        self.rig: SoundRig
        self.cards: RigCards

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:  # Ctrl-C too: what has started is ended
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def stations(self) -> tuple[StationPlan, ...]:
        return self.household.stations

    async def ask(self, station: str, command: str, /, **arguments: Any) -> dict[str, Any]:
        """One command to a station. Raises `ControlError`."""
        return await ask(self.household.station(station).control, {"command": command, **arguments})

    async def status(self, station: str) -> dict[str, Any]:
        """The station's status. Raises `ControlError`."""
        status: dict[str, Any] = (await self.ask(station, "status"))["status"]
        return status

    async def try_door(self, station: str, door: str) -> str | None:
        """`intercomctl door DOOR` at a station: why it was not opened, None if it was."""
        try:
            await self.ask(station, "door", station=door)
        except ControlError as error:
            return str(error)
        return None

    async def stop_hub(self) -> None:
        """So that its database may be read: it is meant for one connection."""
        await self.supervisor.stop(HUB)

    # ---- inside

    async def _open(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="intercomd-demo-"))
        if not self._keep:
            self._stack.callback(shutil.rmtree, root, ignore_errors=True)
        if len(str(root)) > MAX_ROOT_CHARS:
            raise HouseError(f"{root} is too long a path for sockets: choose another one, as TMPDIR=/tmp")
        self.household = plan(root, _free_port())
        lay_out(self.household, self._ring_timeout_s, self._changed)
        names = [station.name for station in self.stations]
        self.rig = self._stack.enter_context(SoundRig(names))
        self.cards = RigCards(self.rig, self._pause_s)
        self._stack.push_async_callback(self.supervisor.close)
        await self._start()

    async def _start(self) -> None:
        self.supervisor.start(self._program(HUB, "hub", self.household.hub_config))
        async with ClientSession(timeout=ClientTimeout(total=COMMAND_LIMIT_S)) as session:
            await self.until("the hub serves", lambda: _healthy(session, self.household.hub_url))
        for station in self.stations:
            keep_token(station, await self._enrol(station))
        # Whoever is at home lets in who talks with them; nobody opens the door otherwise.
        await self._order(Order("allow", GROUP, action=Action.DOOR_IN_CALL, object="door"))
        for station in self.stations:
            self.supervisor.start(self._program(station.name, "device", station.config))
        for station in self.stations:
            await self.until(f"{station.name} is ready", partial(self.is_ready, station.name))
        for station in self.stations:
            self.cards.speak(station.name)

    async def is_ready(self, station: str) -> bool:
        """Registered at the hub, with its card open."""
        with suppress(ControlError):
            status = await self.status(station)
            registered: bool = status["link"]["state"] == "registered"
            return registered and status["audio"]["card"] == "ready"
        return False

    async def _enrol(self, station: StationPlan) -> str:
        """What `intercomd hub add-station NAME --group G` says to a running hub, without starting Python thrice."""
        result = await self._order(Order("add-station", station.name, station.group or None))
        if result.token is None:
            raise HouseError(f"the hub gives the station {station.name} no token: {result.message}")
        return result.token

    async def _order(self, order: Order) -> Result:
        async with asyncio.timeout(COMMAND_LIMIT_S):
            reader, writer = await asyncio.open_unix_connection(str(socket_path(self.household.hub_database)))
            try:
                writer.write(msgspec.json.encode(order) + b"\n")
                result = msgspec.json.decode(await reader.readline(), type=Result)
            finally:
                writer.close()
        if not result.ok:
            raise HouseError(f"the hub does not do {order.command} {order.name}: {result.message}")
        return result

    def _program(self, name: str, command: str, config: Path) -> Program:
        return Program(name, _intercomd(command, "--config", str(config)), self._environment())

    def _environment(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in NOT_FOR_CHILDREN}
        return {**kept, **self.rig.env}

    async def until(self, what: str, true: Callable[[], Awaitable[bool]]) -> None:
        deadline_s = time.monotonic() + START_LIMIT_S
        while not await true():
            if time.monotonic() > deadline_s:
                said = "; ".join(f"{line.source}: {line.message}" for line in tuple(self.journal.lines())[-5:])
                raise HouseError(f"not within {START_LIMIT_S:.0f} s: {what}. Last in the journal: {said or 'nothing'}")
            await asyncio.sleep(LOOK_S)


def _intercomd(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "intercomd", *arguments]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def _healthy(session: ClientSession, url: str) -> bool:
    with suppress(ClientError, TimeoutError):
        async with session.get(f"{url}/healthz") as response:
            return response.status == 200
    return False
