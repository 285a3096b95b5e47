"""The benchmark `hub`: a hub of ours beside Node's Socket.IO server, that relays the same, and stock clients."""

import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from intercomd.hub.storage.database import DatabaseError
from tests import postgres
from tests.bench.audio.measured import Measured
from tests.bench.hub import growth
from tests.bench.hub.clients import Client, Gone, connected
from tests.bench.hub.crashes import KILLS, MIN_CALLS, SPACING_S, crashes
from tests.bench.hub.loads import Connections, Relayed, Rung, connections, relaying, ringing
from tests.bench.hub.recording import recording
from tests.bench.hub.returning import returning
from tests.bench.hub.servers import NODE, enrol, node, ours, sqlite, station
from tests.bench.load import LoadWatch
from tests.bench.programs import ProgramError
from tests.bench.report import Peer, Row, broken, invalid, row
from tests.bench.sounds import percentile

STATIONS: Final = 1000
EVENTS_PER_S: Final = 1000.0
CALLS_PER_S: Final = 100.0
MAX_LAG_S: Final = 0.03
"""Milliseconds are taken by the generator's own stamps, whose lateness is judged by itself."""
MAX_LATE_MS: Final = 20.0
KIB_EACH, RING_MS, RECORDS_PER_S, BACK_S = 32.0, 50.0, 50_000.0, 30.0
STOCK_LIMIT_S: Final = 45.0
STOCK: Final = "the stock Python client"
NOBODY: Final = Peer(None, reason="a figure of ours alone")


async def _connections(directory: Path) -> list[Row]:
    """Memory and time of a connection, with deflate offered and not."""
    rows = []
    for deflate in (False, True):
        url = sqlite(_fresh(directory, f"memory-{deflate}"))
        await enrol(url, STATIONS)
        async with ours(directory, url) as server:
            mine = await connections(server, STATIONS, deflate=deflate)
        async with node(deflate=deflate) as server:
            theirs = await connections(server, STATIONS, deflate=deflate)
        offered = "deflate offered" if deflate else "no deflate"

        def one(
            what: str, unit: str, of: Callable[[Connections], float], at_most: float | None = None,
            got: tuple[Connections, Connections] = (mine, theirs), offered: str = offered,
        ) -> Row:  # fmt: skip
            peer = Peer(NODE, of(got[1]))
            return row(f"{what}, {offered}", of(got[0]), unit, peer, at_most=at_most, reason=f"{STATIONS} stations")

        rows.append(one("memory of a connection", "KiB", lambda got: got.bytes_each / 1024, at_most=KIB_EACH))
        if not deflate:
            rows.append(one("connects", "/s", lambda got: got.per_s))
            rows.append(one("processor for a connect", "ms", lambda got: got.cpu_s_each * 1000))
    return rows


async def _relaying(directory: Path) -> list[Row]:
    """What an event that goes through costs."""

    async def measured(server: Any) -> Relayed:
        clients = [Client(station(number)) for number in range(STATIONS)]
        async with connected(server, clients):
            return await relaying(server, clients, EVENTS_PER_S)

    url = sqlite(directory)
    await enrol(url, STATIONS)
    async with ours(directory, url) as server:
        mine = await measured(server)
    async with node() as server:
        theirs = await measured(server)
    lost = [got for got in (mine, theirs) if got.events < 0.99 * got.wanted]
    told = f"{EVENTS_PER_S:.0f} a second, each acknowledged; arrived: {mine.events}, {theirs.events}"
    rows = [
        row(
            "processor for a relayed event",
            mine.cpu_s_each * 1e6,
            "µs",
            Peer(NODE, theirs.cpu_s_each * 1e6),
            reason=told,
        )
    ]
    return invalid(rows, "events were lost") if lost else rows


async def _ringing(directory: Path) -> list[Row]:
    """From the press to the ring, with a thousand stations connected."""

    async def measured(server: Any) -> Rung:
        clients = [Client(station(number)) for number in range(STATIONS)]
        async with connected(server, clients):
            return await ringing(server, clients, CALLS_PER_S)

    url = sqlite(directory)
    await enrol(url, STATIONS)
    async with ours(directory, url) as server:
        mine = await measured(server)
    async with node() as server:
        theirs = await measured(server)
    rows = [
        row(f"press → ring at {CALLS_PER_S:.0f} calls/s: {name}", percentile(mine.delays_s, percent) * 1000, "ms",
            Peer(NODE, percentile(theirs.delays_s, percent) * 1000, "which decides and keeps nothing"), at_most=target,
            reason=f"{mine.calls} calls, {len(mine.delays_s)} rang; each on disk before it rings")
        for name, percent, target in (("median", 50, None), ("p95", 95, RING_MS))
    ]  # fmt: skip
    late_ms = percentile([*mine.late_s, *theirs.late_s], 99) * 1000
    unrung = len(mine.delays_s) < mine.calls
    if late_ms > MAX_LATE_MS:
        return invalid(rows, f"the generator came {late_ms:.0f} ms late to its calls (p99)")
    return invalid(rows, "not every call rang") if unrung else rows


async def _returning(directory: Path) -> list[Row]:
    """After a restart with a black hole and slow connects."""
    rows: list[Row] = []
    found = {}
    for crowd, limit_s in (("ours", BACK_S), ("stock", STOCK_LIMIT_S)):
        url = sqlite(_fresh(directory, f"return-{crowd}"))
        await enrol(url, STATIONS)
        found[crowd] = await returning(crowd, directory, url, STATIONS, limit_s)
    mine, theirs = found["ours"], found["stock"]
    told = (
        f"hub killed; connections taken and never answered for 10 s; then each answer 1.5 s late; ours looked at for "
        f"{BACK_S:.0f} s, the stock client for {STOCK_LIMIT_S:.0f} s; connected before: {mine.before}, {theirs.before}"
    )
    rows.append(
        row("clients back after a restart", mine.back, "", Peer(STOCK, theirs.back), equal=STATIONS, reason=told)
    )
    nothing = (
        Peer(STOCK, reason="half of them never came back") if theirs.median_s is None else Peer(STOCK, theirs.median_s)
    )
    if mine.median_s is not None:
        rows.append(row("half of them back after", mine.median_s, "s", nothing, reason=told))
    if mine.last_s is not None:
        last = Peer(STOCK, reason="never all of them") if theirs.last_s is None else Peer(STOCK, theirs.last_s)
        rows.append(row("all of them back after", mine.last_s, "s", last, at_most=BACK_S, reason=told))
    return rows


async def _recording(directory: Path) -> list[Row]:
    mine = await recording(sqlite(directory))
    rows = [row("records in batches of 200, SQLite", mine.per_s, "/s", NOBODY, at_least=RECORDS_PER_S,
                reason=f"{mine.rows} rows, a tenth of them twice; on disk")]  # fmt: skip
    if (lacking := postgres.lacking()) is not None:
        return [*rows, broken("records in batches of 200, PostgreSQL", lacking)]
    with postgres.cluster() as cluster:
        theirs = await recording(cluster.make_database("records"))
    return [*rows, row("records in batches of 200, PostgreSQL", theirs.per_s, "/s", NOBODY,
                       reason="over loopback; the cluster does not sync to disk")]  # fmt: skip


async def _crashes(directory: Path) -> list[Row]:
    if (lacking := postgres.lacking()) is not None:
        return [broken("two processes and PostgreSQL under kills", lacking)]
    with postgres.cluster() as cluster:
        toll = await crashes(cluster, directory, "crashes")
    told = (
        f"{toll.calls} calls between {toll.kills} kills and {toll.database_restarts} restarts of PostgreSQL; "
        f"{len(toll.promised)} were promised, {len(toll.unfinished)} given up by their callers; the longest took "
        f"{toll.longest_s:.1f} s"
    )
    rows = [
        row(
            f"two processes, one killed every {SPACING_S:.0f} s: calls {word}",
            len(found),
            "",
            NOBODY,
            at_most=0,
            reason=told,
        )
        for word, found in (("lost", toll.lost), ("recorded twice", toll.doubled), ("without an end", toll.unfinished))
    ]
    tried = toll.kills >= KILLS and toll.database_restarts == 1 and toll.calls >= MIN_CALLS
    return rows if tried else invalid(rows, "too few calls, or too few kills")


def _fresh(directory: Path, name: str) -> Path:
    made = directory / name
    made.mkdir()
    return made


_MEASURES: Final[Mapping[str, Callable[[Path], Awaitable[list[Row]]]]] = {
    "connections": _connections,
    "relaying": _relaying,
    "ringing": _ringing,
    "returning": _returning,
    "recording": _recording,
    "crashes": _crashes,
}
PARTS: Final = (*_MEASURES, "growth")
LAGS: Final[Mapping[str, float]] = {
    "returning": 1.0,
    "recording": 10.0,
    "connections": 1.0,
    "relaying": 0.2,
}
"""Where no delay is taken by the generator's clock, its lag does no harm as long as the work is done."""


async def hub(wanted: Sequence[str], load_before: float) -> list[Row]:
    """The rows of these parts; a part that breaks gives one row that says so, and the others go on."""
    rows: list[Row] = []
    for name in (part for part in PARTS if part in wanted):
        print(f"  {name}", flush=True)
        rows += await _part(name, load_before)
    return rows


async def _part(name: str, load_before: float) -> list[Row]:
    watch = LoadWatch(load_before)
    try:
        with tempfile.TemporaryDirectory(prefix="intercomd-bench-") as directory:
            async with watch:
                measured = (
                    await growth.growth(Path(directory)) if name == "growth"
                    else Measured(await _MEASURES[name](Path(directory)))
                )  # fmt: skip
    except (ProgramError, Gone, DatabaseError, OSError, ExceptionGroup) as error:
        return [broken(name, str(error))]
    print(f"    {watch.load}", flush=True)
    if measured.series:
        growth.draw(measured.series)
    if name == "crashes":
        return measured.rows  # what is lost or doubled does not depend on how busy the machine is
    complaints = watch.load.complaints(LAGS.get(name, MAX_LAG_S))
    return invalid(measured.rows, "; ".join(complaints)) if complaints else measured.rows
