"""An hour between two sound cards whose clocks disagree by 200 ppm, faster than real time: 0.72 s of sound too much or
too little by its end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.pcm import RATE_HZ, Pcm
from tests.bench.audio import judges
from tests.bench.audio.delays import STOCK, curve
from tests.bench.audio.measured import Measured
from tests.bench.audio.simulation import Ours, Stock, packets, run, speech
from tests.bench.audio.traces import Trace, lan
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, Row, row

MINUTES: Final = 60
PPM: Final = 200.0
WITHIN_MS: Final = 20.0
_SETTLED_S: Final = 60.0
"""By then the loop has found the drift."""
_LESS_PESQ: Final = 0.1
_MINUTE_S: Final = 60.0
_JUDGED_S: Final = 16.0
_CURVE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Hour:
    """`off_ms`: how far the delay strayed from its start, at most. `slips`: how often voice was missing (concealed or
    silent, `missing_ms` in all) or was stretched where that can be heard; `stretches` in pauses: how often until the
    drift was found, and after. `pesq` of the last words; `ppm` is the correction over time."""

    off_ms: float
    slips: int
    missing_ms: float
    stretches: tuple[int, int]
    pesq: float
    delay: Sequence[tuple[float, float]]
    ppm: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Clocks:
    contender: str
    ppm: float
    minutes: int
    judged: bool = True
    """PESQ needs a judge that only the benchmark's set-up installs; without it, NaN."""


def passed(clocks: Clocks) -> Hour:
    receiver: Ours | Stock = Ours(AdaptiveBuffer()) if clocks.contender == "ours" else Stock()
    ppm: list[tuple[float, float]] = []
    early = 0

    def look(at_s: float) -> None:
        nonlocal early
        if isinstance(receiver, Ours) and at_s >= len(ppm) * _CURVE_S:
            ppm.append((round(at_s, 1), round(receiver.drift_ppm, 1)))
            early = receiver.heard.stretches if at_s < _SETTLED_S else early

    # The same minute again and again: an hour would take a minute of encoding.
    payloads = packets(_MINUTE_S) * clocks.minutes
    heard = run(receiver, Trace("", lan, clocks.ppm), payloads=payloads, on_tick=look, keep_s=_JUDGED_S)
    start_ms, delay = heard.mean_lag_ms(1, 3), curve(heard, _CURVE_S)
    # Ours counts how often voice began to be missing; stock plays a period of silence for each.
    missing = heard.counts.gaps if isinstance(receiver, Ours) else heard.silent_ticks
    off_ms = max(abs(lag_ms - start_ms) for _, lag_ms in delay)
    missing_ms = (heard.counts.concealed_frames + heard.counts.silent_frames) * 1000 / RATE_HZ
    return Hour(
        off_ms,
        missing + heard.hurried,
        missing_ms,
        (early, heard.stretches - early),
        _judged(heard.pcm) if clocks.judged else math.nan,
        delay,
        ppm,
    )


def _judged(heard: Pcm) -> float:
    """The last words are the end of the minute, a little sooner or later."""
    return judges.pesq(speech(_MINUTE_S)[-len(heard) :], heard)


async def drift() -> Measured:
    """The sender's clock faster and slower, and once like the receiver's."""
    control = Clocks("ours", 0.0, 5)
    jobs = [Clocks(name, ppm, MINUTES) for name in ("ours", "stock") for ppm in (PPM, -PPM)]
    hours = dict(zip([*jobs, control], await spread("drift", passed, [*jobs, control]), strict=True))
    rows = [
        one
        for ppm in (PPM, -PPM)
        for one in _rows(ppm, hours[Clocks("ours", ppm, MINUTES)], hours[Clocks("stock", ppm, MINUTES)], hours[control])
    ]
    series = {
        f"{clocks.contender} {clocks.ppm:+.0f} ppm": {"delay_ms": hour.delay, "correction_ppm": hour.ppm}
        for clocks, hour in hours.items()
        if clocks.ppm
    }
    return Measured(rows, series)


def _rows(ppm: float, ours: Hour, stock: Hour, control: Hour) -> list[Row]:
    what = f"{MINUTES} min, sender {abs(ppm):.0f} ppm {'fast' if ppm > 0 else 'slow'}"
    return [
        row(f"{what}: delay off its start, at most", ours.off_ms, "ms", Peer(STOCK, stock.off_ms),
            at_most=WITHIN_MS, reason="means of 20 s; simulated clock"),
        row(f"{what}: slips (voice missing, concealed or not)", ours.slips, "", Peer(STOCK, stock.slips), at_most=0,
            reason=_told(ours)),
        row(f"{what}: PESQ of its last 16 s", ours.pesq, "", Peer("ours without drift", control.pesq),
            at_least=control.pesq - _LESS_PESQ, reason=f"stock {stock.pesq:.2f}, whenever it does not slip"),
    ]  # fmt: skip


def _told(hour: Hour) -> str:
    steady = [ppm for at_s, ppm in hour.ppm if at_s > MINUTES * 30]
    before, after = hour.stretches
    return (
        f"{hour.missing_ms:.0f} ms in all; stretched in pauses {before} times in the first minute, until the drift "
        f"was found, {after} times after; resampled by {min(steady):.0f} to {max(steady):.0f} ppm in the second half"
    )
