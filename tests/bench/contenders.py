"""Who speaks from the door to the flat: each begins a call between the same sinks, yields the pids of its two stations,
and ends it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from intercomd.demo.house import House
from tests.bench import baresip
from tests.bench.hands import hands
from tests.bench.programs import Program, module
from tests.bench.voices import speaking

CALLER, CALLEE = ENDS = ("door", "flat")
AIR, EAR = "door_mic", "flat_handset"
COPY, OURS, STOCK, BARESIP = "copy loop", "ours", "stock aiortc", "baresip"


@dataclass(frozen=True, slots=True)
class Scene:
    """`answer_s` collects by name how long it took until both ends heard each other."""

    house: House
    directory: Path
    answer_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


Contender = Callable[[Scene], AbstractAsyncContextManager[Sequence[int]]]


def contenders() -> Mapping[str, Contender]:
    """Those that can be measured here."""
    known: dict[str, Contender] = {COPY: copy_loop, OURS: ours, STOCK: stock}
    return known if baresip.missing() else {**known, BARESIP: in_c}


@asynccontextmanager
async def copy_loop(scene: Scene) -> AsyncIterator[Sequence[int]]:
    """One process, one direction: no station whose cost could be told."""
    loop = module("tests.bench.copy_loop", f"{CALLER}_microphone", EAR)
    async with Program(loop, scene.house.rig.env) as program:
        await program.line()
        yield ()


@asynccontextmanager
async def ours(scene: Scene) -> AsyncIterator[Sequence[int]]:
    """The two stations of the house, over the hub."""
    with speaking(scene.house, scene.directory, ENDS):
        async with hands(scene.house, ENDS) as people:
            answered = await people.call(CALLER, CALLEE)
        scene.answer_s[OURS].append(answered.both_heard_s)
    pids = [scene.house.supervisor.view(name).pid for name in ENDS]
    try:
        yield [pid for pid in pids if pid is not None]
    finally:
        async with hands(scene.house, ENDS) as people:
            await people.hang_up(CALLER, ENDS)


@asynccontextmanager
async def stock(scene: Scene) -> AsyncIterator[Sequence[int]]:
    """Two programs, their descriptions carried by us."""
    async with AsyncExitStack() as stack:
        caller, callee = [
            await stack.enter_async_context(Program(module("tests.bench.stock", *pcms), scene.house.rig.env))
            for pcms in ((f"{CALLER}_microphone", f"{CALLER}_speaker"), (f"{CALLEE}_microphone", EAR))
        ]
        for program in (caller, callee):
            await program.says()
        with speaking(scene.house, scene.directory, ENDS):
            began_s = asyncio.get_running_loop().time()
            caller.tell({"do": "offer"})
            callee.tell(await caller.says())
            caller.tell(await callee.says())
            heard = [float((await program.says())["first_voice_t_ns"]) / 1e9 for program in (caller, callee)]
        scene.answer_s[STOCK].append(max(heard) - began_s)
        yield caller.pid, callee.pid


@asynccontextmanager
async def in_c(scene: Scene) -> AsyncIterator[Sequence[int]]:
    """Two instances, SIP and plain RTP over loopback."""
    pcms = {CALLER: (f"{CALLER}_microphone", f"{CALLER}_speaker"), CALLEE: (f"{CALLEE}_microphone", EAR)}
    async with baresip.call(pcms[CALLER], pcms[CALLEE], scene.house.rig.env) as pids:
        yield pids
