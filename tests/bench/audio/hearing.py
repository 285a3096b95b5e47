"""What is injected to be measured, and what two recordings of it say: delays, and ticks of digital silence. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from tests.bench.sounds import CHIRP_FRAMES, SPACING_S, Dated, chirps, find_chirps

NOISE_RMS: Final = 150.0
"""−47 dBFS: a quiet room, in which digital silence is a hole and nothing else."""
LONGEST_S: Final = 1.2
_MISSED_S: Final = 0.25
"""What it costs to take a chirp for lost, in seconds by which the delay jumps."""
_ABREAST: Final = 12
SETTLED_S: Final = 0.7
LEAVES_S: Final = 0.3
"""The copy loop's first moments, and its last: its own start and end."""
STEADY_S: Final = 0.003
AROUND_S: Final = 1.2
_BLOCK_FRAMES: Final = 5 * RATE_HZ
"""Short transforms are quicker than one over minutes."""


_Path = tuple[float, float | None, Any]
"""Its cost, its last delay, and its way here as nested pairs, the last one outermost."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A chirp that was spoken at `at_s` (CLOCK_MONOTONIC); None: it was not found again within `LONGEST_S`."""

    at_s: float
    delay_s: float | None


def sound(seconds_s: float, seed: int) -> Pcm:
    """Chirps in a steady low noise."""
    noise = np.random.default_rng(seed).normal(0, NOISE_RMS, round(seconds_s * RATE_HZ))
    mixed: Pcm = np.rint(chirps(seconds_s, seed) + noise).clip(-32768, 32767).astype(np.int16)
    return mixed


def delays(mouth: Dated, ear: Dated) -> list[Heard]:
    """Of every chirp before the mouth that could be heard in the ear's recording."""
    arrivals = np.array([ear.at(frame) for frame in found(ear.pcm)])
    end_s = ear.at(len(ear.pcm)) - LONGEST_S
    spoken = [at_s for at_s in map(mouth.at, found(mouth.pcm)) if ear.began_s <= at_s <= end_s]
    possible = [(arrivals[(arrivals >= at_s) & (arrivals <= at_s + LONGEST_S)] - at_s).tolist() for at_s in spoken]
    return [Heard(at_s, delay_s) for at_s, delay_s in zip(spoken, steadiest(possible), strict=True)]


def steadiest(possible: Sequence[Sequence[float]]) -> list[float | None]:
    """Of each chirp's possible delays the one, or none, with which the delay jumps least over all. More than one chirp
    may be on its way; since they come at irregular times, only the true delays are steady."""
    paths: list[_Path] = [(0.0, None, None)]
    for delays_s in possible:
        longer: list[_Path] = [(cost + _MISSED_S, last_s, (trail, None)) for cost, last_s, trail in paths]
        for delay_s in delays_s:
            costs = [cost + (0.0 if last_s is None else abs(delay_s - last_s)) for cost, last_s, _ in paths]
            best = int(np.argmin(costs))
            longer.append((costs[best], delay_s, (paths[best][2], delay_s)))
        paths = sorted(longer, key=lambda path: path[0])[:_ABREAST]
    chosen: list[float | None] = []
    trail = paths[0][2]
    while trail is not None:
        trail, delay = trail
        chosen.append(delay)
    return chosen[::-1]


def found(recorded: Pcm) -> list[int]:
    """The frame at which each chirp begins."""
    frames: list[int] = []
    for start in range(0, len(recorded), _BLOCK_FRAMES):
        block = recorded[start : start + _BLOCK_FRAMES + 2 * CHIRP_FRAMES]
        for frame in find_chirps(block):
            if not frames or start + frame - frames[-1] > SPACING_S[0] * RATE_HZ * 0.8:
                frames.append(start + frame)
    return frames


def silent_at(recorded: Dated, from_s: float, to_s: float) -> tuple[float, ...]:
    """When whole periods of nothing but zeros were played in this time: the beginning of each."""
    start, stop = (round((at_s - recorded.began_s) * RATE_HZ) for at_s in (from_s, to_s))
    silent = np.concatenate(([False], recorded.pcm[max(0, start) : max(0, stop)] == 0, [False]))
    edges = np.flatnonzero(np.diff(silent))
    began = max(0, start)
    return tuple(
        recorded.at(began + int(edge) + PERIOD_FRAMES * number)
        for edge, end in zip(edges[::2], edges[1::2], strict=True)
        for number in range(int(end - edge) // PERIOD_FRAMES)
    )


# ------------------------------------------------------------------------------------------------- the rig's own calm


def by_start(heard: Iterable[Heard], starts_s: Sequence[float], each_s: float) -> list[list[Heard]]:
    """The chirps of each start of the copy loop: from where it has settled to where it may have ended. Each start
    decides anew how the periods of two cards lie to each other; within one the delay is constant."""
    spoken = [one for one in heard if one.delay_s is not None]
    spans = [(start_s + SETTLED_S, start_s + each_s - LEAVES_S) for start_s in starts_s]
    groups = [[one for one in spoken if from_s <= one.at_s < to_s] for from_s, to_s in spans]
    return [group for group in groups if group]


def base_s(groups: Sequence[Sequence[Heard]]) -> float:
    """The copy loop's delay: the median of its starts' medians. Raises `ValueError` for none."""
    if not groups:
        raise ValueError("the copy loop was never heard")
    return median(_middle_s(group) for group in groups)


def hiccups_s(groups: Sequence[Sequence[Heard]]) -> tuple[float, ...]:
    """When the copy loop's delay was not that of its start: then the machine or the sound server had a hiccup, and
    what else was heard at that moment says nothing of whoever spoke."""
    middles_s = [_middle_s(group) for group in groups]
    return tuple(
        one.at_s
        for group, middle_s in zip(groups, middles_s, strict=True)
        for one in group
        if abs((one.delay_s or 0.0) - middle_s) > STEADY_S
    )


def calm(at_s: float, disturbed_s: Iterable[float]) -> bool:
    """Whether nothing disturbed the rig around this moment."""
    return all(abs(at_s - moment_s) > AROUND_S for moment_s in disturbed_s)


def _middle_s(group: Sequence[Heard]) -> float:
    return median(one.delay_s or 0.0 for one in group)
