"""What is injected to be measured, and what two recordings of it say: delays, and ticks of digital silence. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from tests.bench.sounds import CHIRP_FRAMES, SPACING_S, Dated, chirps, find_chirps

NOISE_RMS: Final = 150.0
"""−47 dBFS: a quiet room, in which digital silence is a hole and nothing else."""
LONGEST_S: Final = 0.5
_BLOCK_FRAMES: Final = 5 * RATE_HZ
"""Short transforms are quicker than one over minutes."""


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
    heard = []
    for at_s in map(mouth.at, found(mouth.pcm)):
        if ear.began_s <= at_s <= end_s:
            later = arrivals[(arrivals >= at_s) & (arrivals <= at_s + LONGEST_S)] - at_s
            heard.append(Heard(at_s, float(later[0]) if len(later) else None))
    return heard


def found(recorded: Pcm) -> list[int]:
    """The frame at which each chirp begins."""
    frames: list[int] = []
    for start in range(0, len(recorded), _BLOCK_FRAMES):
        block = recorded[start : start + _BLOCK_FRAMES + 2 * CHIRP_FRAMES]
        for frame in find_chirps(block):
            if not frames or start + frame - frames[-1] > SPACING_S[0] * RATE_HZ * 0.8:
                frames.append(start + frame)
    return frames


def silent_ticks(recorded: Dated, from_s: float, to_s: float) -> int:
    """How many whole periods of nothing but zeros were played in this time."""
    start, stop = (round((at_s - recorded.began_s) * RATE_HZ) for at_s in (from_s, to_s))
    silent = np.concatenate(([False], recorded.pcm[max(0, start) : max(0, stop)] == 0, [False]))
    edges = np.flatnonzero(np.diff(silent))
    return int(np.sum((edges[1::2] - edges[::2]) // PERIOD_FRAMES))
