"""What a station in a call costs with all voice processing on, beside stock aiortc, which has none, in turns."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from intercomd.demo.house import House
from tests.bench.contenders import ENDS, OURS, STOCK, Contender, Scene, ours, stock
from tests.bench.footprint import footprint
from tests.bench.report import Peer, Row, row
from tests.bench.voices import speaking

ENGINE = "livekit"
PARTS_ON = {"highpass", "echo", "noise", "gain"}
TURNS = 2
SPEECH_S = 5.0
SETTLE_S = 1.5
LOAD_LIMIT_S = 15.0
RSS_MB, MB = 150.0, 1e6

Cost = tuple[float, float]
"""Of one station: percent of a core, RSS in bytes."""


class NotProcessing(ValueError):
    """The canceller did not load."""


async def processing(directory: Path) -> Callable[[], list[Row]]:
    """In a house of its own; some 40 s."""
    costs: dict[str, list[Cost]] = defaultdict(list)
    calls: dict[str, Contender] = {OURS: ours, STOCK: stock}
    async with House(changed={"audio": {"processing": ENGINE}}) as house:
        for station in house.stations:
            house.cards.hush(station.name)
        scene = Scene(house, directory)
        for turn in range(TURNS):
            for name, call in calls.items():
                print(f"    turn {turn + 1} of {TURNS}: {name}", flush=True)
                async with call(scene) as pids:
                    if name == OURS:
                        await asyncio.gather(*(_loaded(house, station) for station in ENDS))
                    costs[name] += await _costs(scene, pids)
    return lambda: rows_of(costs)


async def _loaded(house: House, station: str) -> None:
    """Raises `NotProcessing`."""
    parts: list[str] = []
    try:
        async with asyncio.timeout(LOAD_LIMIT_S):
            while not set(parts) >= PARTS_ON:
                await asyncio.sleep(0.2)
                parts = (await house.status(station))["audio"]["processing"]
    except TimeoutError:
        raise NotProcessing(f"{station} processes its voice with {parts or 'nothing'}, not with {ENGINE}") from None


async def _costs(scene: Scene, pids: Sequence[int]) -> list[Cost]:
    with speaking(scene.house, scene.directory, ENDS):
        await asyncio.sleep(SETTLE_S)
        loop = asyncio.get_running_loop()
        before, began_s = [footprint(pid).cpu_s for pid in pids], loop.time()
        await asyncio.sleep(SPEECH_S)
        after, took_s = [footprint(pid) for pid in pids], loop.time() - began_s
    return [
        ((end.cpu_s - begin) / took_s * 100, end.rss_bytes) for begin, end in zip(before, after, strict=True)
    ]  # fmt: skip


def rows_of(costs: dict[str, list[Cost]]) -> list[Row]:
    """Means over both ends and all turns."""
    (cpu, rss), (their_cpu, their_rss) = (
        (mean(one[0] for one in costs[name]), mean(one[1] for one in costs[name]) / MB) for name in (OURS, STOCK)
    )
    what, told = "a station in a call, all processing on: ", f"{ENGINE}: {', '.join(sorted(PARTS_ON))}; both ends speak"
    return [
        row(what + "CPU", cpu, "% of a core", Peer(STOCK, their_cpu), at_most_peer=True, reason=told),
        row(what + "RSS", rss, "MB", Peer(STOCK, their_rss), at_most=RSS_MB, reason=told),
    ]
