"""Rooms for the echo: loudspeaker, air and microphone, made of a seed.

A room is a direct sound, a few early reflections and a tail of noise that decays by 60 dB in RT60 (Polack's model of a
reverberation above its mixing time). Loudspeaker and microphone share a box on the wall: the direct sound is above the
tail by 4 dB in a stairwell, by 10 dB in a small hall. The lists are fixed: parameters are chosen on CHOOSING, figures
told from SCORING.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import RATE_HZ, Pcm

Wave = npt.NDArray[np.float64]

ECHO_DBFS: Final = -24.0
_TAIL: Final = 0.015
NOISE_DBFS: Final = -65.0
"""Bounds what any canceller can reach without noise suppression: 41 dB."""


@dataclass(frozen=True, slots=True)
class Room:
    """`clip`: how hard the loudspeaker is driven (0: linear; 1: its peaks are compressed by 3 dB). `moving`: a person
    walks, and a quarter of the tail changes every second. `ppm`: the microphone's crystal against the loudspeaker's."""

    name: str
    seed: int
    rt60_s: float
    bulk_ms: float
    clip: float = 0.0
    moving: bool = False
    ppm: float = 0.0


SCORING: Final = (
    Room("dry, 20 ms", 101, 0.15, 20),
    Room("hall, 60 ms", 102, 0.30, 60),
    Room("stairs, 120 ms", 103, 0.45, 120),
    Room("stairwell, 250 ms", 104, 0.60, 250),
    Room("soft clipping, 80 ms", 105, 0.30, 80, clip=1.0),
    Room("hard driven, 40 ms", 106, 0.25, 40, clip=2.0),
    Room("somebody walks, 60 ms", 107, 0.30, 60, moving=True),
    Room("50 ppm, 60 ms", 108, 0.30, 60, ppm=50),
)
CHOOSING: Final = (
    Room("dry, 30 ms", 11, 0.18, 30),
    Room("hall, 90 ms", 12, 0.40, 90),
    Room("stairwell, 180 ms", 13, 0.55, 180),
    Room("soft clipping, 70 ms", 14, 0.28, 70, clip=1.0),
    Room("somebody walks, 50 ms", 15, 0.35, 50, moving=True),
    Room("50 ppm, 80 ms", 16, 0.30, 80, ppm=50),
)


def level_db(wave: Wave) -> float:
    """RMS in dBFS of the parts that sound (speech has pauses)."""
    frames = wave[: len(wave) // 480 * 480].reshape(-1, 480)
    power = np.mean(frames * frames, axis=1)
    sounding = power[power > power.max() * 1e-3] if len(power) else power
    return float(10 * np.log10(np.mean(sounding) / 32768.0**2 + 1e-12))


def echo(room: Room, played: Pcm) -> Wave:
    """What the microphone gets of `played`, at `ECHO_DBFS`, without noise; one clock, no drift yet."""
    wave = _driven(played.astype(np.float64), room.clip)
    first = _response(room, 0)
    heard = _convolved(wave, first)
    if room.moving:
        other = _convolved(wave, _response(room, 1))
        slow = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(heard)) / (4 * RATE_HZ))
        heard = heard + (other - heard) * slow
    return heard * 10 ** ((ECHO_DBFS - level_db(heard)) / 20)


def noise(room: Room, frames: int) -> Wave:
    """The microphone's own."""
    return np.random.default_rng(room.seed + 7).normal(0, 32768 * 10 ** (NOISE_DBFS / 20), frames)


def drifted(wave: Wave, ppm: float) -> Wave:
    """As a crystal that is faster by `ppm` samples it."""
    if not ppm:
        return wave
    at = np.arange(int(len(wave) * (1 + ppm * 1e-6)) - 4) / (1 + ppm * 1e-6)
    whole = np.minimum(at.astype(int), len(wave) - 3)
    whole = np.maximum(whole, 1)
    part = at - whole
    before, here, there, after = (wave[whole + offset] for offset in (-1, 0, 1, 2))
    bend = before - 2.5 * here + 2 * there - 0.5 * after
    edge = 0.5 * (after - before) + 1.5 * (here - there)
    return ((edge * part + bend) * part + 0.5 * (there - before)) * part + here


def pcm(wave: Wave) -> Pcm:
    return np.rint(wave).clip(-32768, 32767).astype(np.int16)


def _driven(wave: Wave, clip: float) -> Wave:
    if not clip:
        return wave
    top = float(np.abs(wave).max()) / clip
    return np.asarray(np.tanh(wave / top) * top)


def _response(room: Room, variant: int) -> Wave:
    dice = np.random.default_rng(room.seed)
    length = round(room.rt60_s * RATE_HZ)
    time = np.arange(length) / RATE_HZ
    tail = dice.normal(0, 1, length) * 10 ** (-3 * time / room.rt60_s)
    tail[: round(0.003 * RATE_HZ)] *= 0.1
    if variant:
        walker = np.random.default_rng(room.seed + 1000 * variant)
        other = walker.normal(0, 1, length) * 10 ** (-3 * time / room.rt60_s)
        tail = np.sqrt(0.75) * tail + np.sqrt(0.25) * other
    response = tail * _TAIL
    response[0] += 1.0
    for _ in range(6):
        response[dice.integers(48, 1200)] += dice.uniform(-0.4, 0.4)
    return np.concatenate([np.zeros(round(room.bulk_ms * RATE_HZ / 1000)), response])


def _convolved(wave: Wave, response: Wave) -> Wave:
    size = 1 << (len(wave) + len(response)).bit_length()
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(response, size)
    return np.asarray(np.fft.irfft(spectrum, size)[: len(wave)])
