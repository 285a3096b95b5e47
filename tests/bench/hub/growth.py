"""How cost grows with the estate: memory, idle processor, and press to ring, from 100 stations to 5,000."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.audio.measured import Measured
from tests.bench.footprint import footprint
from tests.bench.hub.clients import Client, connected
from tests.bench.hub.loads import idle_cpu, ringing
from tests.bench.hub.servers import Server, enrol, ours, sqlite, station
from tests.bench.report import OUTPUT, Peer, Row, row
from tests.bench.sounds import percentile

SIZES: Final = (100, 500, 1000, 2500, 5000)
CALLS_PER_S, CALLS_S = 20.0, 5.0
ESTATE: Final = 100_000
NOBODY: Final = Peer(None, reason="a figure of ours alone")


async def growth(directory: Path) -> Measured:
    """One hub after the other, each with so many stations connected."""
    points = [await _point(directory, size) for size in SIZES]
    series = {"growth": points}
    rows: list[Row] = []
    for point in points:
        told = f"heartbeats each 5 s, then {CALLS_PER_S:.0f} calls/s"
        size = point["stations"]
        rows += [
            row(f"{size} stations: memory of the hub", point["rss_mb"], "MB", NOBODY, reason=told),
            row(
                f"{size} stations: processor while nobody calls",
                point["idle_percent"],
                "% of a core",
                NOBODY,
                reason=told,
            ),
            row(f"{size} stations: press → ring, p95", point["ring_p95_ms"], "ms", NOBODY, reason=told),
        ]
    return Measured(rows, series)


async def _point(directory: Path, size: int) -> dict[str, float]:
    own = directory / f"size-{size}"
    own.mkdir()
    url = sqlite(own)
    await enrol(url, size)
    async with ours(own, url) as server:
        clients = [Client(station(number)) for number in range(size)]
        async with connected(server, clients):
            return await _measured(server, clients, size)


async def _measured(server: Server, clients: Sequence[Client], size: int) -> dict[str, float]:
    idle = await idle_cpu(server)
    rung = await ringing(server, clients, CALLS_PER_S, CALLS_S)
    at_end = footprint(server.pid)
    return {
        "stations": size,
        "rss_mb": at_end.rss_bytes / 1e6,
        "idle_percent": idle,
        "ring_median_ms": percentile(rung.delays_s, 50) * 1000,
        "ring_p95_ms": percentile(rung.delays_s, 95) * 1000,
    }


def draw(series: Mapping[str, Any]) -> None:
    """build/bench/hub-growth.png and its numbers beside it."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "hub-growth.json").write_text(json.dumps(series, indent=1) + "\n")
    try:
        import matplotlib.pyplot as plt

        from tests.bench.audio.plots import BLUE, GREEN, RED, STYLE
    except ImportError:
        print("    no plot: matplotlib belongs to the extra bench")
        return
    points = series["growth"]
    sizes = [point["stations"] for point in points]
    with plt.rc_context(STYLE):
        figure, panes = plt.subplots(1, 3, figsize=(10.0, 3.6))
        for pane, (key, title, colour) in zip(
            panes,
            (
                ("rss_mb", "memory of the hub, MB", BLUE),
                ("idle_percent", "processor while nobody calls, % of a core", GREEN),
                ("ring_p95_ms", "press → ring at 20 calls/s, p95, ms", RED),
            ),
            strict=True,
        ):
            pane.plot(sizes, [point[key] for point in points], color=colour, marker="o")
            pane.set_title(title, fontsize=10)
            pane.set_xlabel("stations")
            pane.set_ylim(bottom=0)
        figure.tight_layout()
        figure.savefig(OUTPUT / "hub-growth.png")
        plt.close(figure)
    print("    build/bench/hub-growth.png")
