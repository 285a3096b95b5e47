"""kill −9 of stations and hub at random moments: nobody may ring on, no record may be lost or written twice.

Two houses at once, each with a hub, three stations, real audio and real stores. `KILLS=1000` for a long run; `SEED=7`
plays the same scenes again, `SEED=7/0/12` one of them.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count, islice
from random import SystemRandom
from statistics import median

from tests.bench.recovery.kills_house import KillHouse
from tests.bench.recovery.kills_scenes import MAX_KILLS, Aim, Scene, scene
from tests.bench.recovery.kills_stage import SETTLE_LIMIT_S, Stage, Tally
from tests.bench.recovery.kills_words import table
from tests.bench.report import Peer, Row, row
from tests.bench.sounds import percentile

KILLS = 200
HOUSES = 2
PROGRESS_S = 20.0
CONTROLS = {
    "rings on": (Aim.RINGING, "stuck"),
    "forgets records": (Aim.RECORDS, "lost"),
    "writes twice": (Aim.TALKING, "doubled"),
}
"""What is planted (`kills_planted.py`), in which scenes it must show, and as what."""
CONTROL_SCENES = 3
CONTROL_SETTLE_S = 10.0
NO_PEER = Peer(None, reason="no other intercom restores a call: there is nothing to compare")


def limit_s() -> float:
    """For the part: a busy machine needs 2 s for a kill, and the controls some minutes."""
    return 300.0 + 2.7 * _wanted()


def _wanted() -> int:
    return int(os.environ.get("KILLS", KILLS))


async def kills() -> list[Row]:
    """The rows of the part."""
    wanted = _wanted()
    seed, only = _seed(os.environ.get("SEED", ""))
    print(f"    SEED={seed}: {wanted} kills in {HOUSES} houses", flush=True)
    began_s = time.monotonic()
    tally = await run(seed, wanted, HOUSES, only)
    told = f"SEED={seed}, {time.monotonic() - began_s:.0f} s"
    print(f"\n{table(tally.phases)}\n", flush=True)
    if only is not None:
        return rows(tally, 1, told)
    return [*rows(tally, wanted, told), *[await _control(mistake, seed) for mistake in CONTROLS]]


def _seed(text: str) -> tuple[int, Scene | None]:
    """`7` or `7/0/12`; a new one where nothing is given."""
    numbers = [int(part) for part in text.split("/") if part]
    if len(numbers) == 3:
        return numbers[0], scene(*numbers)
    return (numbers or [SystemRandom().randrange(10_000)])[0], None


async def run(seed: int, wanted: int, houses: int, only: Scene | None = None) -> Tally:
    """Play until so many kills are done, in so many houses at once; then close the books."""
    tally = Tally()
    if only is not None:
        await _life(KillHouse(), [only], tally, wanted)
        return tally
    progress = asyncio.create_task(_progress(tally, wanted))
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(houses):
                group.create_task(_life(KillHouse(), _scenes(seed, number), tally, wanted))
    finally:
        progress.cancel()
    return tally


def _scenes(seed: int, house: int) -> Iterator[Scene]:
    return (scene(seed, house, number) for number in count())


async def _life(
    house: KillHouse, scenes: Iterable[Scene], tally: Tally, wanted: int, settle_limit_s: float = SETTLE_LIMIT_S
) -> None:
    async with house:
        for station in house.stations:
            house.cards.hush(station.name)
        async with Stage(house, tally, settle_limit_s) as stage:
            for one in scenes:
                if tally.kills >= wanted or not await stage.play(one):
                    break
            await stage.close_books()


async def _progress(tally: Tally, wanted: int) -> None:
    began_s = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_S)
        told = f"{tally.kills} of {wanted} kills, {len(tally.settled_s)} times at rest, {len(tally.findings)} findings"
        print(f"    {time.monotonic() - began_s:4.0f} s: {told}", flush=True)


async def _control(mistake: str, seed: int) -> Row:
    print(f"    control, `{mistake}` is planted: what it finds is meant to be found", flush=True)
    tally = await planted(mistake, seed)
    told = f"{tally.kills} kills; {_counted(tally)}"
    return row(f"control, planted: {mistake}; found", is_caught(mistake, tally), "of 1", NO_PEER, equal=1, reason=told)


async def planted(mistake: str, seed: int) -> Tally:
    """The same play with a mistake planted: if it is not found, zeros mean nothing."""
    aim, _ = CONTROLS[mistake]
    tally = Tally()
    scenes = islice((one for one in _telling(seed) if one.aim is aim), CONTROL_SCENES)
    # As many kills as the scenes may have: one that falls before a station is ready shows nothing.
    await _life(KillHouse(mistake), scenes, tally, CONTROL_SCENES * (MAX_KILLS + 1), CONTROL_SETTLE_S)
    return tally


def is_caught(mistake: str, tally: Tally) -> bool:
    """Whether it was found as what it is."""
    _, kind = CONTROLS[mistake]
    return any(finding.kind == kind for _, finding in tally.findings)


def _telling(seed: int) -> Iterator[Scene]:
    """Scenes in which the caller hangs up at the end and nobody before; where it rings, it rings on: a callee that is
    killed would forget the mistake with everything else."""
    for number in count():
        one = scene(seed, 99, number)
        is_spared = one.aim is not Aim.RINGING or not any(one.callee in kill.victims for kill in one.kills)
        if not one.pressed and one.ends == one.caller and is_spared:
            yield one


def rows(tally: Tally, wanted: int, told: str) -> list[Row]:
    """The verdict. `told`: seed and duration."""
    kinds = Counter(finding.kind for _, finding in tally.findings)
    by_phase: Counter[str] = Counter()
    for (phase, _), killed in tally.phases.items():
        by_phase[phase] += killed
    phases = ", ".join(f"{phase} {killed}" for phase, killed in by_phase.most_common())
    reason = f"{told}; processes killed by phase: {phases}; {NO_PEER.reason}"
    settled = sorted(tally.settled_s) or [0.0]
    verdicts = [
        row("stuck: somebody rings on, or a panel and the hub disagree", kinds["stuck"], "times", NO_PEER, equal=0,
            reason=f"{len(tally.settled_s)} times all came to rest"),
        row("records lost", kinds["lost"], "records", NO_PEER, equal=0, reason=f"{tally.records} records"),
        row("records doubled", kinds["doubled"], "records", NO_PEER, equal=0, reason=f"{tally.records} records"),
        row("records that contradict what happened", kinds["outcome"], "records", NO_PEER, equal=0,
            reason=f"{tally.calls} calls"),
        row("connected calls that nobody ended, back after the kills", tally.survived, f"of {tally.surviving}", NO_PEER,
            equal=tally.surviving),
    ]  # fmt: skip
    times = [
        row("last kill → all panels and the hub agree: median", median(settled), "s", NO_PEER),
        row("last kill → all panels and the hub agree: p95", percentile(settled, 95), "s", NO_PEER),
        row("last kill → all panels and the hub agree: worst", settled[-1], "s", NO_PEER, at_most=SETTLE_LIMIT_S),
    ]
    enough = Row("random kills", tally.kills, None, None, "kills", f"≥ {wanted}", tally.kills >= wanted, reason)
    return [enough, *verdicts, *times]


def _counted(tally: Tally) -> str:
    kinds = Counter(finding.kind for _, finding in tally.findings)
    return ", ".join(f"{number} {kind}" for kind, number in kinds.most_common()) or "nothing found"


if __name__ == "__main__":
    from tests.bench.report import table as shown

    print(shown(asyncio.run(kills())))
