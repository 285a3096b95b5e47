"""Mouth to ear, and what a station costs in a call: the bare copy loop, ours and stock aiortc in turns, each between
the same two sinks of one rig.

A chirp is played into the air before the door's microphone; the moment in which that sink played it and the moment in
which the flat's handset did are read from two dated recordings. Their distance has the card's own buffers in it (the
rig's sinks, 10 ms of capture, two periods of playout), which the copy loop has too: its median is taken off. Then both
sides speak without a pause, and CPU time is read from outside.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

from intercomd.demo.house import House
from tests.bench import baresip
from tests.bench.ears import Ear
from tests.bench.footprint import Footprint, footprint
from tests.bench.hands import hands
from tests.bench.programs import Program, module
from tests.bench.report import Peer, Row, row
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
CALLER, CALLEE = ENDS = ("door", "flat")
AIR, EAR = "door_mic", "flat_handset"
MIN_FOUND = 0.9
COPY, OURS, STOCK, BARESIP = "copy loop", "ours", "stock aiortc", "baresip"
MEDIAN_MS, P95_MS, RSS_MB = 45.0, 75.0, 110.0
MB = 1e6


class Unheard(Exception):
    """Too few chirps were found again."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One station during a window of speech."""

    cpu_percent: float
    at_end: Footprint


@dataclass(slots=True)
class Taken:
    """What the rounds have brought, by program."""

    recordings: dict[str, list[tuple[Dated, Dated]]] = field(default_factory=lambda: defaultdict(list))
    costs: dict[str, list[Cost]] = field(default_factory=lambda: defaultdict(list))
    answer_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


async def mouth_to_ear(house: House, directory: Path, taken: Taken) -> Callable[[], list[Row]]:
    """All rounds, into `taken`; the figures are reckoned afterwards."""
    calls = {COPY: copy_loop, OURS: ours, STOCK: stock}
    missing = baresip.missing()
    if not missing:
        calls[BARESIP] = baresip_call
    for number in range(ROUNDS):
        sound = directory / f"chirps-{number}.raw"
        sound.write_bytes(chirps(CHIRPS_S, number).tobytes())
        names = list(calls)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            print(f"    round {number + 1} of {ROUNDS}: {name}", flush=True)
            async with asynccontextmanager(calls[name])(house, directory, taken) as pids:
                await asyncio.sleep(SETTLE_S)
                taken.recordings[name].append(await _chirp(house, sound))
                if pids and number < COST_ROUNDS:
                    taken.costs[name] += await _costs(house, directory, pids)
    return lambda: _rows(taken, missing)


# ------------------------------------------------------------------------------------------------- who is measured


async def copy_loop(house: House, directory: Path, taken: Taken) -> AsyncIterator[Sequence[int]]:
    """One process, one direction: no station whose cost could be told."""
    loop = module("tests.bench.copy_loop", f"{CALLER}_microphone", EAR)
    async with Program(loop, house.rig.env) as program:
        await program.line()
        yield ()


async def ours(house: House, directory: Path, taken: Taken) -> AsyncIterator[Sequence[int]]:
    """The two stations of the house, over the hub."""
    with speaking(house, directory, ENDS):
        async with hands(house, ENDS) as people:
            answered = await people.call(CALLER, CALLEE)
        taken.answer_s[OURS].append(answered.both_heard_s)
    pids = [house.supervisor.view(name).pid for name in ENDS]
    yield [pid for pid in pids if pid is not None]
    async with hands(house, ENDS) as people:
        await people.hang_up(CALLER, ENDS)


async def stock(house: House, directory: Path, taken: Taken) -> AsyncIterator[Sequence[int]]:
    """Two programs, their descriptions carried by us."""
    async with AsyncExitStack() as stack:
        caller, callee = [
            await stack.enter_async_context(Program(module("tests.bench.stock", *pcms), house.rig.env))
            for pcms in ((f"{CALLER}_microphone", f"{CALLER}_speaker"), (f"{CALLEE}_microphone", EAR))
        ]
        for program in (caller, callee):
            await program.says()
        with speaking(house, directory, ENDS):
            began_s = asyncio.get_running_loop().time()
            caller.tell({"do": "offer"})
            callee.tell(await caller.says())
            caller.tell(await callee.says())
            heard = [float((await program.says())["first_voice_t_ns"]) / 1e9 for program in (caller, callee)]
        taken.answer_s[STOCK].append(max(heard) - began_s)
        yield caller.pid, callee.pid


async def baresip_call(house: House, directory: Path, taken: Taken) -> AsyncIterator[Sequence[int]]:
    """Two instances, SIP and plain RTP over loopback."""
    pcms = {CALLER: (f"{CALLER}_microphone", f"{CALLER}_speaker"), CALLEE: (f"{CALLEE}_microphone", EAR)}
    async with baresip.call(pcms[CALLER], pcms[CALLEE], house.rig.env) as pids:
        yield pids


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


async def _costs(house: House, directory: Path, pids: Sequence[int]) -> list[Cost]:
    """Of each process while both sides speak."""
    with speaking(house, directory, ENDS):
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        before, began_s = [footprint(pid) for pid in pids], loop.time()
        await asyncio.sleep(SPEECH_S)
        after, took_s = [footprint(pid) for pid in pids], loop.time() - began_s
    return [Cost((end.cpu_s - begin.cpu_s) / took_s * 100, end) for begin, end in zip(before, after, strict=True)]


# --------------------------------------------------------------------------------------------------------- figures


def _rows(taken: Taken, no_baresip: str) -> list[Row]:
    delays = {name: _delays_ms(name, pairs) for name, pairs in taken.recordings.items()}
    base = median(delays[COPY])
    beyond = {name: [delay - base for delay in found] for name, found in delays.items()}
    rows = _delay_rows(delays, beyond, base, _baresip_peer(no_baresip, beyond))
    rows += _cost_rows(taken.costs, no_baresip)
    return rows


def _delays_ms(name: str, pairs: Sequence[tuple[Dated, Dated]]) -> list[float]:
    found, spoken = [], 0
    for mouth, ear in pairs:
        delays, count = delays_s(mouth, ear, LONGEST_S)
        found += [delay * 1000 for delay in delays]
        spoken += count
    if not spoken or len(found) < MIN_FOUND * spoken:
        raise Unheard(f"{name}: {len(found)} of {spoken} chirps were heard")
    return found


def _delay_rows(
    delays: dict[str, list[float]], beyond: dict[str, list[float]], base: float, anchor: Callable[[float], Peer]
) -> list[Row]:
    stock, mine = beyond[STOCK], beyond[OURS]
    note = f"{len(mine)} chirps in {ROUNDS} calls; copy loop {base:.1f} ms (median of {len(delays[COPY])}) taken off"
    spread = f"the copy loop itself: {min(delays[COPY]):.1f} to {max(delays[COPY]):.1f} ms"
    rows = [
        row("mouth to ear − copy loop: median", median(mine), "ms", Peer(STOCK, median(stock)),
            at_most=MEDIAN_MS, reason=note),
        row("mouth to ear − copy loop: p95", percentile(mine, 95), "ms", Peer(STOCK, percentile(stock, 95)),
            at_most=P95_MS, reason=note),
        row("mouth to ear, absolute: median", median(delays[OURS]), "ms", Peer(STOCK, median(delays[STOCK])),
            reason=spread),
        row("mouth to ear, absolute: p95", percentile(delays[OURS], 95), "ms",
            Peer(STOCK, percentile(delays[STOCK], 95)), reason=spread),
    ]  # fmt: skip
    return [*rows, row("mouth to ear − copy loop: median, beside C", median(mine), "ms", anchor(50))]


def _baresip_peer(missing: str, beyond: dict[str, list[float]]) -> Callable[[float], Peer]:
    def peer(percent: float) -> Peer:
        if missing:
            return Peer(BARESIP, reason=missing)
        return Peer(BARESIP, percentile(beyond[BARESIP], percent), baresip.NOTE)

    return peer


def _cost_rows(costs: dict[str, list[Cost]], no_baresip: str) -> list[Row]:
    def peer(name: str, of: Callable[[Cost], float]) -> Peer:
        if name not in costs:
            return Peer(name, reason=no_baresip)
        return Peer(name, mean(map(of, costs[name])), baresip.NOTE if name == BARESIP else "")

    def one(what: str, unit: str, of: Callable[[Cost], float], at_most: float | None = None, *, peers: bool = False,
            beside: str = STOCK) -> Row:  # fmt: skip
        value = mean(map(of, costs[OURS]))
        return row(f"a station in a call: {what}", value, unit, peer(beside, of), at_most=at_most, at_most_peer=peers)

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
        one("CPU, beside C", "% of a core", cpu, beside=BARESIP),
        one("RSS, beside C", "MB", rss, beside=BARESIP),
    ]
