"""Mouth to ear, and what a station costs in a call: the bare copy loop, ours, stock aiortc and baresip in turns, each
between the same two sinks of one rig.

A chirp is played into the air before the door's microphone; the moment in which that sink played it and the moment in
which the flat's handset did are read from two dated recordings. Their distance has the card's own buffers in it (the
rig's sinks, 10 ms of capture, two periods of playout), which the copy loop has too: its median is taken off. Then both
sides speak without a pause, and CPU time is read from outside.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

from intercomd.demo.house import House
from tests.bench import baresip
from tests.bench.contenders import AIR, BARESIP, COPY, EAR, ENDS, OURS, STOCK, Scene, contenders
from tests.bench.ears import Ear
from tests.bench.footprint import Footprint, footprint
from tests.bench.report import Peer, Row, invalid, row
from tests.bench.sounds import Dated, chirps, delays_s, percentile
from tests.bench.voices import speaking

ROUNDS = 6
"""Each a new start of everything: it decides how the periods of two cards lie to each other, 10 ms of delay."""
COST_ROUNDS = 3
CHIRPS_S = 5.5
SETTLE_S = 1.5
"""The tone that tells of the connection is over, buffers have found their depth."""
SPEECH_S = 6.0
LONGEST_S = 0.5
LATENCY_MS = 20
MIN_FOUND = 0.9
COPY_SPREAD_MS = 15.0
"""10 ms by the phase of the two cards; beyond that the copy loop itself had hiccups, and is no measure."""
MEDIAN_MS, P95_MS, RSS_MB = 45.0, 75.0, 110.0
MB = 1e6


class Unheard(Exception):
    """Too few chirps were found again."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One station during a window of speech."""

    cpu_percent: float
    at_end: Footprint


@dataclass(frozen=True, slots=True)
class Taken:
    """What the rounds have brought, by contender."""

    recordings: dict[str, list[tuple[Dated, Dated]]] = field(default_factory=lambda: defaultdict(list))
    costs: dict[str, list[Cost]] = field(default_factory=lambda: defaultdict(list))


async def mouth_to_ear(scene: Scene) -> Callable[[], list[Row]]:
    """All rounds; the figures are reckoned afterwards."""
    calls, taken = contenders(), Taken()
    for number in range(ROUNDS):
        sound = scene.directory / f"chirps-{number}.raw"
        sound.write_bytes(chirps(CHIRPS_S, number).tobytes())
        names = list(calls)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            print(f"    round {number + 1} of {ROUNDS}: {name}", flush=True)
            async with calls[name](scene) as pids:
                await asyncio.sleep(SETTLE_S)
                taken.recordings[name].append(await _chirp(scene.house, sound))
                if pids and number < COST_ROUNDS:
                    taken.costs[name] += await _costs(scene, pids)
    return lambda: rows_of(taken)


# ---------------------------------------------------------------------------------------------------- measurements


async def _chirp(house: House, sound: Path) -> tuple[Dated, Dated]:
    mouth, ear = Ear(house.rig, AIR), Ear(house.rig, EAR)
    try:
        await asyncio.to_thread(mouth.__enter__)
        await asyncio.to_thread(ear.__enter__)
        with house.rig.play(AIR, sound, LATENCY_MS):
            await asyncio.sleep(CHIRPS_S + LONGEST_S)
    finally:
        mouth.close()
        ear.close()
    return mouth.heard(), ear.heard()


async def _costs(scene: Scene, pids: Sequence[int]) -> list[Cost]:
    """Of each process while both sides speak."""
    with speaking(scene.house, scene.directory, ENDS):
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        before, began_s = [footprint(pid) for pid in pids], loop.time()
        await asyncio.sleep(SPEECH_S)
        after, took_s = [footprint(pid) for pid in pids], loop.time() - began_s
    return [Cost((end.cpu_s - begin.cpu_s) / took_s * 100, end) for begin, end in zip(before, after, strict=True)]


# --------------------------------------------------------------------------------------------------------- figures


def rows_of(taken: Taken) -> list[Row]:
    """Raises `Unheard` when ours or the copy loop cannot be judged; a peer is then missing with that reason."""
    return [*_delay_rows(taken), *_cost_rows(taken.costs)]


def _delays_ms(taken: Taken, name: str) -> list[float]:
    found, spoken = [], 0
    for mouth, ear in taken.recordings[name]:
        delays, count = delays_s(mouth, ear, LONGEST_S)
        found += [delay * 1000 for delay in delays]
        spoken += count
    if not spoken or len(found) < MIN_FOUND * spoken:
        raise Unheard(f"{name}: {len(found)} of {spoken} chirps were heard within {LONGEST_S * 1000:.0f} ms")
    return found


def _delay_rows(taken: Taken) -> list[Row]:
    copy, mine = _delays_ms(taken, COPY), _delays_ms(taken, OURS)
    base = median(copy)
    note = f"{len(mine)} chirps in {ROUNDS} calls; copy loop {base:.1f} ms (median of {len(copy)}) taken off"
    spread = f"the copy loop itself: {min(copy):.1f} to {max(copy):.1f} ms"
    rows = []
    for peer in (STOCK, BARESIP):
        theirs = _delays_of_peer(taken, peer)
        for what, off_ms, reason in (("mouth to ear − copy loop", base, note), ("mouth to ear, absolute", 0.0, spread)):
            for figure, percent, target in (("median", 50, MEDIAN_MS), ("p95", 95, P95_MS)):
                at_most = target if off_ms and peer == STOCK else None
                rows.append(
                    row(f"{what}: {figure}{_beside(peer)}", percentile(mine, percent) - off_ms, "ms",
                        theirs(percent, off_ms), at_most=at_most, reason=reason)
                )  # fmt: skip
    disturbed = max(copy) - min(copy) > COPY_SPREAD_MS
    return invalid(rows, f"the copy loop was disturbed: {spread}") if disturbed else rows


def _delays_of_peer(taken: Taken, name: str) -> Callable[[float, float], Peer]:
    if name not in taken.recordings:
        return lambda _percent, _off_ms: Peer(name, reason=baresip.missing())
    try:
        delays = _delays_ms(taken, name)
    except Unheard as error:
        reason = str(error)
        return lambda _percent, _off_ms: Peer(name, reason=reason)
    note = baresip.NOTE if name == BARESIP else ""
    return lambda percent, off_ms: Peer(name, percentile(delays, percent) - off_ms, note)


def _beside(peer: str) -> str:
    return "" if peer == STOCK else f", beside {peer}"


def _cost_rows(costs: dict[str, list[Cost]]) -> list[Row]:
    def one(
        what: str, unit: str, of: Callable[[Cost], float], at_most: float | None = None, *, peers: bool = False,
        beside: str = STOCK,
    ) -> Row:  # fmt: skip
        peer = Peer(beside, reason=baresip.missing())
        if costs.get(beside):
            peer = Peer(beside, mean(map(of, costs[beside])), baresip.NOTE if beside == BARESIP else "")
        name = f"a station in a call: {what}{_beside(beside)}"
        return row(name, mean(map(of, costs[OURS])), unit, peer, at_most=at_most, at_most_peer=peers)

    def cpu(cost: Cost) -> float:
        return cost.cpu_percent

    def rss(cost: Cost) -> float:
        return cost.at_end.rss_bytes / MB

    return [
        one("CPU", "% of a core", cpu, peers=True),
        one("RSS", "MB", rss, RSS_MB),
        one("PSS", "MB", lambda cost: cost.at_end.pss_bytes / MB),
        one("threads", "", lambda cost: cost.at_end.threads),
        one("file descriptors", "", lambda cost: cost.at_end.fds),
        one("CPU", "% of a core", cpu, beside=BARESIP),
        one("RSS", "MB", rss, beside=BARESIP),
    ]
