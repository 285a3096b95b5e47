"""The benchmark `audio`: the audio engine beside its peers, part by part, within a quarter of an hour.

First what measures real time, one after the other on an otherwise idle machine; then what is not timed, side by side on
all cores. A part that breaks or is late gives one row that says so, and the others go on.
"""

import asyncio
import json
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.bench.audio import workers
from tests.bench.audio.browser import browser_speech
from tests.bench.audio.cost import cpu
from tests.bench.audio.delays import jitter, stall
from tests.bench.audio.echo import echo
from tests.bench.audio.growth import growth
from tests.bench.audio.hour import drift
from tests.bench.audio.latency import latency
from tests.bench.audio.loudness import noise
from tests.bench.audio.measured import Measured, Part
from tests.bench.audio.peers import peers
from tests.bench.audio.speech import speech
from tests.bench.audio.strangers import strangers
from tests.bench.load import LoadWatch
from tests.bench.report import OUTPUT, Row, broken, invalid


@dataclass(frozen=True, slots=True)
class Real:
    """A part that measures real time, and needs the machine for itself; `max_lag_s` is None where the part itself
    knows when its generators lagged."""

    part: Part
    limit_s: float
    max_lag_s: float | None = None


REAL: Final[Mapping[str, Real]] = {
    "latency": Real(latency, 450),
    "cpu": Real(cpu, 90),
    "browser": Real(browser_speech, 300),
}
OFFLINE: Final[Mapping[str, Part]] = {
    "growth": growth,  # of memory: calls are counted, not timed, and come before all work beside them
    "echo": echo,
    "speech": speech,
    "strangers": strangers,
    "drift": drift,
    "noise": noise,
    "jitter": jitter,
    "stall": stall,
}
"""Begun together, each for as long as the whole may take."""
PARTS: Final = (*REAL, *OFFLINE)
LIMIT_S: Final = 15 * 60.0
_END_LIMIT_S: Final = 20.0
"""For what a late part has to put away."""

Results = dict[str, Measured]


async def audio(wanted: Sequence[str], load_before: float) -> list[Row]:
    """The rows of these parts, in order; their series and plots are written beside."""
    print(peers(), flush=True)
    until_s = time.monotonic() + LIMIT_S
    found: Results = {}
    for name, real in REAL.items():
        if name in wanted:
            in_time = replace(real, limit_s=min(real.limit_s, until_s - time.monotonic()))
            found[name] = await watched(name, in_time, LoadWatch(load_before))
    beside = {name: part for name, part in OFFLINE.items() if name in wanted}
    found |= await together(beside, until_s - time.monotonic())
    stem = "audio" if len(found) == len(PARTS) else "audio-" + "-".join(found)
    await asyncio.to_thread(_write, stem, found)
    return [row for name in PARTS if name in found for row in found[name].rows]


async def watched(name: str, real: Real, watch: LoadWatch) -> Measured:
    """On a machine that others keep busy its figures are invalid."""
    async with watch:
        measured = await limited(name, real.part, real.limit_s)
    print(f"    {name}: {watch.load}", flush=True)
    complaints = "; ".join(watch.load.complaints(math.inf if real.max_lag_s is None else real.max_lag_s))
    return Measured(invalid(measured.rows, complaints), measured.series) if complaints else measured


async def together(parts: Mapping[str, Part], limit_s: float) -> Results:
    """All at once, on as many cores as there are."""
    workers.cores.set(workers.all_cores())
    done = await asyncio.gather(*(limited(name, part, limit_s) for name, part in parts.items()))
    return dict(zip(parts, done, strict=True))


async def limited(name: str, part: Part, limit_s: float) -> Measured:
    """What it hands over, or the one row that says why there is nothing."""
    print(f"  {name}", flush=True)
    began_s, task = time.monotonic(), asyncio.ensure_future(part())
    await asyncio.wait({task}, timeout=max(0.0, limit_s))
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_END_LIMIT_S)
        return _nothing(name, f"not over within {limit_s:.0f} s")
    if error := task.exception():
        traceback.print_exception(error)
        return _nothing(name, f"{type(error).__name__}: {error}")
    print(f"  {name}: {time.monotonic() - began_s:.0f} s", flush=True)
    return task.result()


def _nothing(name: str, why: str) -> Measured:
    print(f"  {name}: broke: {why}", flush=True)
    return Measured([broken(name, why)])


def _write(stem: str, found: Results) -> None:
    """Drawing takes a library that nothing else needs: it is loaded last."""
    from tests.bench.audio.plots import draw

    series = {name: measured.series for name, measured in found.items() if measured.series}
    path = OUTPUT / f"{stem}-series.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(series, ensure_ascii=False) + "\n")
    for plot in draw(series, stem):
        print(f"  {plot.relative_to(Path.cwd()) if plot.is_relative_to(Path.cwd()) else plot}", flush=True)
