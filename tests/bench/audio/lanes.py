"""Two lanes side by side, each from a mouth's air to an ear's sink over the impaired wire, and who may call on them;
and a third one for the bare copy loop."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from intercomd.demo.cards import RigCards
from intercomd.demo.household import Tables, lay_out, plan
from intercomd.demo.sound import SoundRig
from intercomd.media.pcm import RATE_HZ
from tests.bench import baresip
from tests.bench.audio import chromium_call
from tests.bench.audio.impaired import INTERFACE
from tests.bench.audio.wires import HUB, Wires
from tests.bench.programs import Program, module
from tests.bench.recovery.laboratory import HUB_PORT, STATIONS, Laboratory, _Household

OURS, STOCK, CHROMIUM = "ours", "stock aiortc", "Chromium"
BARESIP, BARESIP_MINIMAL = "baresip, default buffer", "baresip, 1 to 3 frames"


@dataclass(frozen=True, slots=True)
class Lane:
    """Its two machines, by name; their sound has the same names."""

    caller: str
    callee: str

    @property
    def air(self) -> str:
        return f"{self.caller}_mic"

    @property
    def ear(self) -> str:
        return f"{self.callee}_handset"


FIRST, SECOND, COPY = Lane(*STATIONS), Lane("door_b", "flat_b"), Lane("door_c", "flat_c")
ADDRESSES: Final = {
    HUB: "10.77.0.1",
    FIRST.caller: "10.77.0.11",
    FIRST.callee: "10.77.0.21",
    SECOND.caller: "10.77.0.12",
    SECOND.callee: "10.77.0.22",
}
Party = Callable[["Lanes", Lane], AbstractAsyncContextManager[None]]


RIG_NICE: Final = -11
"""What PulseAudio gives itself where it may. The rig stands for cards, which need no processor: it must not wait for
those that are measured."""


class _Rig(SoundRig):
    """Its server says 48 kHz to those who ask it what to take: a browser, which would resample otherwise."""

    def _write(self) -> None:
        super()._write()
        with Path(self.env["PULSE_CONFIG"]).open("a") as configuration:
            configuration.write(f"default-sample-rate = {RATE_HZ}\n")


class Lanes(Laboratory):
    """A house without relays. Its two stations live on the first lane, idle unless ours calls there."""

    network: Wires  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(relayed=False)

    async def _open(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="intercomd-lanes-"))
        self._stack.callback(shutil.rmtree, root, ignore_errors=True)
        self.directory = root
        self.network = await self._stack.enter_async_context(Wires(ADDRESSES))
        planned = plan(root, HUB_PORT)
        self.household = _Household(planned.root, planned.hub_port, tuple(map(planned.station, STATIONS)))
        lay_out(self.household, self._ring_timeout_s, self._changes())
        rooms = [room for lane in (FIRST, SECOND, COPY) for room in (lane.caller, lane.callee)]
        self.rig = self._stack.enter_context(_Rig(rooms, nice=RIG_NICE))
        self.cards = RigCards(self.rig)
        self._stack.push_async_callback(self.supervisor.close)
        await self._start()

    def _changes(self) -> Tables:
        return {**super()._changes(), "audio": {"processing": "none"}}


@asynccontextmanager
async def copy_loop(lanes: Lanes, lane: Lane) -> AsyncIterator[None]:
    """No station, no wire."""
    loop = module("tests.bench.copy_loop", f"{lane.caller}_microphone", lane.ear)
    async with Program(loop, lanes.rig.env) as program:
        await program.line()
        yield


@asynccontextmanager
async def ours(lanes: Lanes, lane: Lane) -> AsyncIterator[None]:
    """The stations of the house; only on the first lane."""
    assert lane == FIRST
    await lanes.call()
    try:
        yield
    finally:
        await lanes.ask(lane.caller, "hangup")
        await lanes.quiet()


@asynccontextmanager
async def stock(lanes: Lanes, lane: Lane) -> AsyncIterator[None]:
    """Their descriptions carried by us."""
    async with AsyncExitStack() as stack:
        programs = []
        for room, output in ((lane.caller, "speaker"), (lane.callee, "handset")):
            pcms = (f"{room}_microphone", f"{room}_{output}")
            argv = lanes.network.inside(room, module("tests.bench.stock", *pcms, ADDRESSES[room]))
            programs.append(await stack.enter_async_context(Program(argv, lanes.rig.env)))
        for program in programs:
            await program.says()
        caller, callee = programs
        caller.tell({"do": "offer"})
        callee.tell(await caller.says())
        caller.tell(await callee.says())
        await callee.says()
        yield


@asynccontextmanager
async def in_c(lanes: Lanes, lane: Lane, buffer_frames: str) -> AsyncIterator[None]:
    """SIP and plain RTP."""
    pcms = [(f"{lane.caller}_microphone", f"{lane.caller}_speaker"), (f"{lane.callee}_microphone", lane.ear)]
    places = [
        baresip.Place(ADDRESSES[room], lanes.network.inside(room, []), INTERFACE) for room in (lane.caller, lane.callee)
    ]
    async with baresip.call(
        pcms[0], pcms[1], lanes.rig.env, buffer_frames=buffer_frames, places=(places[0], places[1])
    ):
        yield


@asynccontextmanager
async def chromium(lanes: Lanes, lane: Lane) -> AsyncIterator[None]:
    """From one browser to another."""
    with ExitStack() as stack:
        seats = []
        for room, output in ((lane.caller, "spk"), (lane.callee, "handset")):
            stack.enter_context(_source(lanes.rig, room))
            seats.append(chromium_call.Seat(lanes.network.inside(room, []), f"{room}_{output}", f"{room}_air"))
        async with chromium_call.call((seats[0], seats[1]), {**os.environ, **lanes.rig.env}, lanes.directory):
            yield


@contextmanager
def _source(rig: SoundRig, room: str) -> Iterator[None]:
    """The air as a source of its own: Chromium has no eyes for the monitors of sinks."""
    name = f"{room}_air"
    described = (f"source_name={name}", f"source_properties=device.description={name}")
    module = rig._control("load-module", "module-remap-source", f"master={room}_mic.monitor", *described)
    try:
        yield
    finally:
        rig._control("unload-module", module)


def parties() -> Mapping[str, Party]:
    """All of them, also those that cannot run here: they say so by `ProgramError`."""
    return {
        OURS: ours,
        STOCK: stock,
        BARESIP: partial(in_c, buffer_frames=baresip.DEFAULT_BUFFER),
        BARESIP_MINIMAL: partial(in_c, buffer_frames=baresip.MINIMAL_BUFFER),
        CHROMIUM: chromium,
    }


async def copy_again_and_again(lanes: Lanes, lane: Lane, each_s: float, starts_s: list[float]) -> None:
    """Until cancelled: a new start decides anew how the periods of two cards lie to each other. Each is noted in
    `starts_s` (CLOCK_MONOTONIC)."""
    while True:
        async with copy_loop(lanes, lane):
            starts_s.append(time.monotonic())
            await asyncio.sleep(each_s)
