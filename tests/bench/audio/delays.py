"""How late voice is heard on traces of networks, and what a stalled loop and two clocks leave behind: ours and stock
aiortc's receiver on the same packets, faster than real time.

Delay counts from the mouth to the playout period that is asked for. The codec's look-ahead (6.5 ms), a capture period
(10 ms) and the card's fill (20 ms) come on top, for both alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.bench.audio import traces
from tests.bench.audio.measured import Measured
from tests.bench.audio.receiving import CONTENDERS
from tests.bench.audio.simulation import Heard, packets, run
from tests.bench.audio.traces import Trace
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, Row, row

NAMES: Final = ("ours", "stock")
STOCK: Final = "stock aiortc's receiver"
CARD_MS: Final = 36.5
SEEDS: Final = (1, 2, 3)
CURVE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Course:
    """How delay went on a trace: a value each `CURVE_S`, and what was missing."""

    heard: Heard
    curve: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Trip:
    """One run."""

    trace: str
    contender: str
    seed: int


LENGTH_S: Final = 66.0
ONE_LOST, LOSSY, BAD = "one packet lost", "1 % lost", "10 % lost, 50 ms of jitter"
SHOWN: Final[Mapping[str, Trace]] = {
    "quiet LAN": Trace("", traces.lan),
    ONE_LOST: Trace("", traces.one_lost),
    LOSSY: Trace("", traces.random_loss(0.01)),
    BAD: Trace("", traces.jitter(0.050, 0.10)),
    "bunches of Wi-Fi": Trace("", traces.wifi),
    "100 ms spikes each 10 s": Trace("", traces.spikes(0.100, 10.0)),
}


def travelled(trip: Trip) -> Course:
    """Without its sound."""
    payloads = packets(LENGTH_S)
    heard = run(CONTENDERS[trip.contender](), SHOWN[trip.trace], payloads=payloads, seed=trip.seed, keep_s=0.01)
    return Course(heard, curve(heard))


def curve(heard: Heard, step_s: float = CURVE_S) -> Sequence[tuple[float, float]]:
    """Medians: (seconds, milliseconds)."""
    if not heard.lags:
        return []
    at_s, lag_s = np.array(heard.lags).T
    steps = (at_s / step_s).astype(int)
    return [
        (round(float(step + 0.5) * step_s, 2), round(float(np.median(lag_s[steps == step])) * 1000, 1))
        for step in np.unique(steps)
    ]


async def jitter() -> Measured:
    """A minute on each trace by three seeds; the worst of them is told."""
    trips = [Trip(trace, name, seed) for trace in SHOWN for name in NAMES for seed in SEEDS]
    courses = dict(zip(trips, await spread("jitter", travelled, trips), strict=True))

    def worst(trace: str, name: str, figure: Callable[[Heard], float]) -> float:
        return max(figure(courses[Trip(trace, name, seed)].heard) for seed in SEEDS)

    def one(name: str, trace: str, figure: Callable[[Heard], float], unit: str, **target: float) -> Row:
        peer = Peer(STOCK, worst(trace, "stock", figure))
        told = f"the worst of {len(SEEDS)} runs of {LENGTH_S:.0f} s; +{CARD_MS} ms of codec and card for both"
        return row(name, worst(trace, "ours", figure), unit, peer, at_most=target.get("at_most"), reason=told)

    found = [one(f"delay on a trace, {trace}: mean", trace, lambda heard: heard.mean_lag_ms(), "ms") for trace in SHOWN]
    found += [
        one("delay added by one lost packet", ONE_LOST, lambda heard: grown_ms(heard, 1, 1.9, 3, 10), "ms", at_most=20),
        one("delay added after 60 s at 1 %", LOSSY, lambda heard: grown_ms(heard, 1, 3, 60, 66), "ms", at_most=20),
        one("10 % and 50 ms of jitter: p95", BAD, lambda heard: heard.lag_ms(95), "ms", at_most=150 - CARD_MS),
        one("10 % and 50 ms of jitter: silent ticks", BAD, lambda heard: heard.silent_ticks, "", at_most=0),
    ]
    return Measured(found, {
        "length_s": LENGTH_S,
        "lag_ms": {
            trace: {name: courses[Trip(trace, name, SEEDS[0])].curve for name in NAMES} for trace in SHOWN
        },
    })  # fmt: skip


def grown_ms(heard: Heard, before_s: float, until_s: float, after_s: float, end_s: float) -> float:
    return heard.mean_lag_ms(after_s, end_s) - heard.mean_lag_ms(before_s, until_s)


# ----------------------------------------------------------------------------------------------------------- stalls

STALL_S: Final = 0.5
STALL_AT_S: Final = 5.0
STALL_LENGTH_S: Final = 12.0
STALLS: Final[Mapping[str, Trace]] = {
    "receiving": Trace("", traces.stall(STALL_S)),
    "sending": Trace("", traces.sender_stall(STALL_S)),
}


def stopped(trip: Trip) -> Course:
    trace = STALLS["receiving"] if trip.contender == "stock" else STALLS[trip.trace]
    payloads = packets(STALL_LENGTH_S)
    heard = run(CONTENDERS[trip.contender](), trace, payloads=payloads, seed=trip.seed, keep_s=0.01)
    return Course(heard, curve(heard, 0.1))


async def stall() -> Measured:
    """The event loop does not run for half a second: at the receiving end (all that came is seen at once), at the
    sending end (ours keeps 100 ms of voice; stock's queue has no bound, which its receiver hears in the same way)."""
    trips = [Trip(end, name, seed) for end in STALLS for name in NAMES for seed in SEEDS]
    courses = dict(zip(trips, await spread("stall", stopped, trips), strict=True))
    over_s = STALL_AT_S + STALL_S + 2

    def left_ms(end: str, name: str) -> float:
        found = (courses[Trip(end, name, seed)].heard for seed in SEEDS)
        return max(grown_ms(heard, 3, STALL_AT_S - 0.1, over_s, over_s + 2) for heard in found)

    rows = [
        row(
            f"delay left 2 s after a stall of 0.5 s, {end} end",
            left_ms(end, "ours"),
            "ms",
            Peer(STOCK, left_ms(end, "stock")),
            at_most=5,
            reason=f"the worst of {len(SEEDS)} runs; 5 ms are less than a period",
        )
        for end in STALLS
    ]
    series = {end: {name: courses[Trip(end, name, SEEDS[0])].curve for name in NAMES} for end in STALLS}
    return Measured(rows, {"stall_at_s": STALL_AT_S, "stall_s": STALL_S, "lag_ms": series})
