"""From the process's start to a station that is registered and has its sound card open; and what its imports take."""

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from statistics import median

from intercomd.demo.house import House
from tests.bench.hands import Late, station_program
from tests.bench.programs import Program, module
from tests.bench.report import Peer, Row, row

STARTS = 10
IMPORTS = 5
TARGET_S = 2.0
STATION = "kitchen"
READY_LIMIT_S = 20.0
LOOK_S = 0.01
STOCK = "stock aiortc"
_TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
_PEERS_IMPORTS = "aiortc, av, alsaaudio, numpy"


async def starts(house: House) -> Callable[[], list[Row]]:
    """Ours and the stock program in turns."""
    ours, peers = [], []
    await house.supervisor.stop(STATION)
    for _ in range(STARTS):
        ours.append(await _station_s(house))
        peers.append(await _stock_s(house))
    house.supervisor.start(station_program(house, STATION))
    await house.until(f"{STATION} is ready", lambda: house.is_ready(STATION))
    imports = await _imports(house)
    return lambda: [*_rows(ours, peers), imports]


def _rows(ours: Sequence[float], peers: Sequence[float]) -> list[Row]:
    note = "the peer: its program's start to its audio open, without any hub"
    told = f"{len(ours)} starts; from the kernel's start of the process"
    return [
        row("start → registered, audio open: median", median(ours), "s", Peer(STOCK, median(peers), note),
            at_most=TARGET_S, reason=told),
        row("start → registered, audio open: worst", max(ours), "s", Peer(STOCK, max(peers), note),
            at_most=TARGET_S, reason=told),
    ]  # fmt: skip


async def _station_s(house: House) -> float:
    """The station's own word: the line STATION_READY has the age of its process."""
    before = _ready_lines(house)
    house.supervisor.start(station_program(house, STATION))
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            while len(lines := _ready_lines(house)) == len(before):
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise Late(f"{STATION} was not ready within {READY_LIMIT_S:g} s") from None
    finally:
        await house.supervisor.stop(STATION)
    return lines[-1]


def _ready_lines(house: House) -> list[float]:
    return [
        float(line.fields["START_S"])
        for line in house.journal.lines()
        if line.source == STATION and line.fields.get("ERROR_CODE") == "STATION_READY"
    ]


async def _stock_s(house: House) -> float:
    stock = module("tests.bench.stock", f"{STATION}_microphone", f"{STATION}_speaker")
    async with Program(stock, house.rig.env) as program:
        return float((await program.says())["ready_s"])


async def _imports(house: House) -> Row:
    """The median of several processes, in turns."""
    ours, peers = [], []
    for _ in range(IMPORTS):
        ours.append(await _import_s(house, "intercomd.device.run"))
        peers.append(await _import_s(house, _PEERS_IMPORTS))
    peer = Peer(STOCK, median(peers), f"the peer: import {_PEERS_IMPORTS}")
    return row("import time: median", median(ours), "s", peer, reason=f"{IMPORTS} processes each, files in memory")


async def _import_s(house: House, modules: str) -> float:
    async with Program([sys.executable, "-c", _TIMED.format(modules)], house.rig.env) as program:
        said = await program.line()
    if not re.fullmatch(r"[\d.e-]+", said):
        raise Late(f"import {modules}: {said}")
    return float(said)
