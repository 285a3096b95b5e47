"""A house whose hub and stations live in namespaces of their own, with a stock pair beside them and relays at hand.

`async with Laboratory() as lab:` It is a `House`: the stations' controls and one private PulseAudio are unix sockets,
which know no network namespaces.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from intercomd.demo.cards import RigCards
from intercomd.demo.control import ControlError
from intercomd.demo.house import HUB, House
from intercomd.demo.household import Household, Tables, keep_token, lay_out, plan
from intercomd.demo.sound import SoundRig
from intercomd.demo.supervisor import Program
from intercomd.hub.office import socket_path
from tests.bench.hands import Late, Status
from tests.bench.recovery import network
from tests.bench.recovery.network import Network
from tests.bench.recovery.relays import Relays

CALLER, CALLEE = STATIONS = ("door", "flat")
STOCK_CALLER, STOCK_CALLEE = "stock_door", "stock_flat"
SINKS: Mapping[str, str] = {CALLER: "door_spk", CALLEE: "flat_handset"}
HUB_PORT = 8080
OTHER_MACHINE = ("nice", "-n", "15")
"""A hub has a machine of its own: its start must not take the stations' cores from their sound."""
LOOK_S = 0.02
LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class _Household(Household):
    """Its hub is on the network."""

    @property
    def hub_url(self) -> str:
        return f"http://{network.ADDRESSES[network.HUB]}:{self.hub_port}"


class Laboratory(House):
    """The door calls, the flat answers. The kitchen is not at home."""

    network: Network
    relays: Relays
    answered_s = 0.0
    """How long the last call took from the answer until both were connected."""

    def __init__(self, *, relayed: bool = True) -> None:
        """`relayed`: with TURN servers."""
        super().__init__(settled_s=0.0)
        self._relayed = relayed

    async def _open(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="intercomd-lab-"))
        self._stack.callback(shutil.rmtree, root, ignore_errors=True)
        self.network = self._stack.enter_context(Network())
        self.relays = Relays(self.network, root)
        if self._relayed:
            await self._stack.enter_async_context(self.relays)
        planned = plan(root, HUB_PORT)
        stations = tuple(planned.station(name) for name in STATIONS)
        self.household = _Household(planned.root, planned.hub_port, stations)
        lay_out(self.household, self._ring_timeout_s, self._changes())
        self.rig = self._stack.enter_context(SoundRig([*STATIONS, STOCK_CALLER, STOCK_CALLEE]))
        self.cards = RigCards(self.rig)
        self._stack.push_async_callback(self.supervisor.close)
        await self._start()

    async def _start(self) -> None:
        self.start(HUB)
        await self.until("the hub serves", self.hub_serves)
        for station in self.stations:
            keep_token(station, await self._enrol(station))
        for name in STATIONS:
            self.start(name)
        await self.ready()

    def _changes(self) -> Tables:
        """What a house on one machine forbids."""
        open_hub: dict[str, Any] = {"listen": "0.0.0.0", "allow_insecure": True, "public_url": self.hub_url}
        return {
            "hub": {**open_hub, **(self.relays.hub_table if self._relayed else {})},
            "station": {"allow_insecure": True},
            "ice": {"allow_loopback": False},
        }

    def _program(self, name: str, command: str, config: Path) -> Program:
        program = super()._program(name, command, config)
        argv = [*OTHER_MACHINE, *program.argv] if name == HUB else program.argv
        return Program(name, self.network.inside(name, argv), program.environment)

    @property
    def hub_url(self) -> str:
        return self.household.hub_url

    # ---- machines

    def start(self, name: str) -> None:
        """The hub, or a station."""
        config = self.household.hub_config if name == HUB else self.household.station(name).config
        self.supervisor.start(self._program(name, "hub" if name == HUB else "device", config))

    async def cut_power(self, name: str) -> None:
        """Killed, and not started again."""
        self.supervisor.kill(name)
        await self.supervisor.stop(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.supervisor._processes[name].send_signal(number)

    async def hub_serves(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_unix_connection(str(socket_path(self.household.hub_database)))
            writer.close()
            return True
        return False

    async def ready(self) -> None:
        for name in STATIONS:
            await self.until(f"{name} is ready", partial(self.is_ready, name))

    async def configured(self, extra: str) -> None:
        """Start the stations again with this at the end of their configuration, which is the table [ice]."""
        for station in self.stations:
            await self.supervisor.stop(station.name)
            plain = station.config.with_suffix(".plain")
            if not plain.exists():
                shutil.copy(station.config, plain)
            station.config.write_text(plain.read_text() + extra)
            self.start(station.name)
        await self.ready()

    # ---- people

    async def call(self, limit_s: float = LIMIT_S) -> str:
        """From the door to the flat, until both show that they are connected; the call's id."""
        await self.ask(CALLER, "call", peer=CALLEE)
        await self.see(CALLEE, "rings", lambda status: status["phase"] == "ringing", limit_s)
        answered_s = monotonic()
        await self.ask(CALLEE, "answer")
        for name in STATIONS:
            await self.see(name, "is connected", lambda status: status["phase"] == "connected", limit_s)
        self.answered_s = monotonic() - answered_s
        return self.call_id(await self.status(CALLER))

    async def quiet(self) -> None:
        """Nobody is in a call, whatever was before."""
        await self.ready()
        for name in STATIONS:
            for _ in range(3):
                status = await self.see(name, "answers", lambda _: True)
                if status["phase"] == "idle" and status["error"] is None:
                    break
                with suppress(ControlError):  # it has ended meanwhile
                    await self.ask(name, "hangup")
                await asyncio.sleep(0.1)
            await self.see(name, "is idle", lambda status: status["phase"] == "idle" and status["error"] is None)

    async def see(self, name: str, what: str, so: Callable[[Status], Any], limit_s: float = LIMIT_S) -> Status:
        """Poll a station that may be away for a while. Raises `Late`."""
        deadline_s = monotonic() + limit_s
        status: Status | None = None
        while monotonic() < deadline_s:
            status = await self.glance(name)
            if status is not None and so(status):
                return status
            await asyncio.sleep(LOOK_S)
        stand = "no answer" if status is None else f"{status['phase']}, error {status['error']}"
        raise Late(f"{name} {what}: not within {limit_s:g} s; it shows {stand}")

    async def glance(self, name: str) -> Status | None:
        """None while it is away."""
        with suppress(ControlError):
            return await self.status(name)
        return None

    @staticmethod
    def call_id(status: Status | None) -> str:
        """Empty without a call."""
        return str(status["call"]["callId"]) if status and status["call"] else ""
