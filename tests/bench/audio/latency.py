"""Live mouth to ear on a network that worsens: ours, stock aiortc, baresip twice and Chromium, each in one call through
the same conditions, two contenders at a time on lanes of their own, a bare copy loop always beside them.

    python -m tests.bench.audio.latency

Between chirps there is a low noise: a period of digital silence in an ear is a hole. The wire impairs RTP and RTCP,
both ways, the n-th packet of each stream alike for all contenders.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from intercomd.demo.control import ControlError
from tests.bench.audio import latency_rows
from tests.bench.audio.conditions import PHASES, Run, Taken, Window
from tests.bench.audio.hearing import Heard, by_start, delays, silent_at, sound
from tests.bench.audio.impaired import CLEAN
from tests.bench.audio.lanes import (
    ADDRESSES,
    BARESIP,
    BARESIP_MINIMAL,
    CHROMIUM,
    COPY,
    FIRST,
    OURS,
    SECOND,
    STOCK,
    Lane,
    Lanes,
    copy_again_and_again,
    parties,
)
from tests.bench.audio.measured import Measured
from tests.bench.audio.wires import HUB
from tests.bench.ears import Ear
from tests.bench.hands import Late
from tests.bench.load import LoadWatch, quiet_machine
from tests.bench.programs import ProgramError
from tests.bench.report import OUTPUT, broken, invalid, table, write
from tests.netns.laboratory import lacking

ROUNDS: Final[Sequence[Sequence[str]]] = ((OURS, STOCK), (BARESIP, CHROMIUM), (OURS, BARESIP_MINIMAL))
SETTLE_S: Final = 2.0
ALONE_S, ALONE_EACH_S, BESIDE_EACH_S = 36.0, 2.8, 6.0
LEAD_S: Final = 25.0
"""For calls to come up before the first condition."""
INJECTED_MS: Final = 20
LOOK_S: Final = 1.0
Reckon = Callable[[], None]
"""What the recordings say takes seconds of a processor, and waits until all is recorded."""


async def latency() -> Measured:
    """Some five and a half minutes of real time. Needs root for the namespaces."""
    reason = lacking()
    if reason is not None:
        return Measured([broken("live mouth to ear", reason)])
    taken = Taken()
    before = await quiet_machine()
    async with Lanes() as lanes:
        watch = LoadWatch(before)
        async with watch:
            with lanes.network.probed(HUB, FIRST.caller) as taken.probe_s:
                reckonings = [await _alone(lanes, taken)]
                for number, names in enumerate(ROUNDS):
                    print(f"    mouth to ear, round {number + 1} of {len(ROUNDS)}: {' and '.join(names)}", flush=True)
                    reckonings.append(await _round(lanes, names, number, taken))
    for reckon in reckonings:
        await asyncio.to_thread(reckon)
    rows = latency_rows.rows(taken, watch.load)
    complaints = [*watch.load.complaints(), *latency_rows.complaints(taken)]
    return Measured(invalid(rows, "; ".join(complaints)) if complaints else rows, latency_rows.series(taken))


# ---------------------------------------------------------------------------------------------------- measurements


class Ears:
    """At one lane's mouth and ear, while the sound is played into its air."""

    def __init__(self, lanes: Lanes, lane: Lane) -> None:
        self._lanes, self._lane = lanes, lane
        self._mouth, self._ear = Ear(lanes.rig, lane.air), Ear(lanes.rig, lane.ear)

    async def open(self, stack: AsyncExitStack, path: Path) -> None:
        for ear in (self._mouth, self._ear):
            await asyncio.to_thread(ear.__enter__)
            stack.callback(ear.close)
        stack.enter_context(self._lanes.rig.play(self._lane.air, path, INJECTED_MS))

    def heard(self) -> list[Heard]:
        return delays(self._mouth.heard(), self._ear.heard())

    def run(self, windows: Sequence[Window], lost: Mapping[str, tuple[int, int]], estimates: Any) -> Run:
        """After the recordings have ended."""
        mouth, ear = self._mouth.heard(), self._ear.heard()
        silent = {window.phase: silent_at(ear, window.from_s, window.to_s) for window in windows}
        mouth_silent = silent_at(mouth, windows[0].from_s, windows[-1].to_s)
        return Run(windows, delays(mouth, ear), silent, mouth_silent, lost, tuple(estimates))


async def _alone(lanes: Lanes, taken: Taken) -> Reckon:
    """The copy loop while nobody calls."""
    path = lanes.directory / "alone.raw"
    path.write_bytes(sound(ALONE_S + LEAD_S, 99).tobytes())
    ears = Ears(lanes, COPY)
    async with AsyncExitStack() as stack:
        await ears.open(stack, path)
        starts_s = await _copying(stack, lanes, ALONE_EACH_S)
        await asyncio.sleep(ALONE_S)
    return lambda: taken.copy_alone.extend(by_start(ears.heard(), starts_s, ALONE_EACH_S))


async def _copying(stack: AsyncExitStack, lanes: Lanes, each_s: float) -> list[float]:
    """From now on; when each copy loop starts."""
    starts_s: list[float] = []
    task = asyncio.create_task(copy_again_and_again(lanes, COPY, each_s, starts_s))

    async def end() -> None:
        task.cancel()
        await asyncio.wait([task])

    stack.push_async_callback(end)
    return starts_s


async def _round(lanes: Lanes, names: Sequence[str], number: int, taken: Taken) -> Reckon:
    """One call of each of `names`, side by side."""
    seated = dict(zip(names, (FIRST, SECOND), strict=False))
    path = lanes.directory / f"round-{number}.raw"
    path.write_bytes(sound(LEAD_S + SETTLE_S + sum(phase.lasts_s for phase in PHASES), number).tobytes())
    everybody = {name: Ears(lanes, lane) for name, lane in seated.items()}
    copy = Ears(lanes, COPY)
    estimates: list[tuple[float, float]] = []
    async with AsyncExitStack() as stack:
        for ears in (*everybody.values(), copy):
            await ears.open(stack, path)
        for name, lane in seated.items():
            try:
                await stack.enter_async_context(parties()[name](lanes, lane))
            except (ProgramError, Late) as error:
                taken.missing[name] = str(error)
        starts_s = await _copying(stack, lanes, BESIDE_EACH_S)
        if OURS in names:
            looking = asyncio.create_task(_estimates(lanes, estimates))
            stack.callback(looking.cancel)
        await asyncio.sleep(SETTLE_S)
        windows, streams = await _phases(lanes)

    def reckon() -> None:
        for name, lane in seated.items():
            if name not in taken.missing:
                told = _told(streams, lane)
                taken.runs[name].append(everybody[name].run(windows, told, estimates if name == OURS else ()))
        taken.copy_beside += by_start(copy.heard(), starts_s, BESIDE_EACH_S)

    return reckon


async def _phases(lanes: Lanes) -> tuple[list[Window], dict[str, Any]]:
    """One after the other, on everybody's wire."""
    windows, streams = [], {}
    began_s, _ = await lanes.network.change(PHASES[0].condition)
    for phase, after in zip(PHASES, (*PHASES[1:], None), strict=True):
        await asyncio.sleep(began_s + phase.lasts_s - time.monotonic())
        ended_s, streams[phase.name] = await lanes.network.change(after.condition if after else CLEAN)
        windows.append(Window(phase.name, began_s, began_s + phase.from_s, ended_s))
        began_s = ended_s
    return windows, streams


def _told(streams: Mapping[str, Any], lane: Lane) -> dict[str, tuple[int, int]]:
    nothing = {"lost": 0, "seen": 0}
    way = f"{ADDRESSES[lane.caller]}>{ADDRESSES[lane.callee]}"
    told = {phase: streams[phase].get(way, nothing) for phase in streams}
    return {phase: (of["lost"], of["seen"]) for phase, of in told.items()}


async def _estimates(lanes: Lanes, kept: list[tuple[float, float]]) -> None:
    """What the listening station says of itself, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            quality = (await lanes.status(FIRST.callee))["quality"]
        except ControlError:
            continue
        if quality and quality.get("mouthToEar") is not None:
            kept.append((time.monotonic(), float(quality["mouthToEar"])))


def main() -> int:
    """On its own; written to build/bench/audio-latency.json."""
    measured = asyncio.run(latency())
    write(measured.rows, OUTPUT / "audio-latency.json")
    print(table(measured.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
