"""Sounds to measure with, and where they are found again. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.demo.listen import WORK_HZ, narrow
from intercomd.demo.returning import BLOCK_S, returns_s
from intercomd.media.pcm import RATE_HZ, Pcm

CHIRP_FRAMES: Final = RATE_HZ * 60 // 1000
_LOW_HZ, _HIGH_HZ = 300.0, 2500.0
"""Within what every codec carries, and slow enough for one made for speech: of 20 ms from 400 to 3600 Hz libopus
leaves, while it prepares for 10 % loss, something that is often no longer alike."""
_AMPLITUDE: Final = 8_000.0
SPACING_S: Final = (0.55, 0.65)
"""Between two chirps, at random: so they fall on every phase of the frames, and none is taken for its neighbour."""
_LEAD_S: Final = 0.3
_FOUND: Final = 0.5
"""Normalised correlation; of a coded chirp 0.8 and more, of its neighbour's tail or noise below 0.3."""
_BLOCK: Final = RATE_HZ * 20 // 1000
_SPEECH_BELOW_PEAK_DB: Final = 30.0
_JOIN_FRAMES: Final = 48
_STEP: Final = WORK_HZ // 100
_WINDOW: Final = WORK_HZ // 25
_PATIENCE: Final = 2 * _STEP
_SLIP: Final = WORK_HZ // 200

_Wave = npt.NDArray[np.float64]


def chirp() -> Pcm:
    """Found in noise and after a codec to a fraction of a millisecond."""
    t = np.arange(CHIRP_FRAMES) / RATE_HZ
    rate = (_HIGH_HZ - _LOW_HZ) / (CHIRP_FRAMES / RATE_HZ)
    wave = np.sin(2 * np.pi * (_LOW_HZ * t + rate * t * t / 2)) * np.hanning(CHIRP_FRAMES)
    return (_AMPLITUDE * wave).astype(np.int16)


def chirps(seconds_s: float, seed: int) -> Pcm:
    """Silence with a chirp now and then, the same for the same seed."""
    dice = random.Random(seed)
    sound = np.zeros(round(seconds_s * RATE_HZ), np.int16)
    at_s = _LEAD_S
    while at_s < seconds_s - _LEAD_S:
        at = round(at_s * RATE_HZ)
        sound[at : at + CHIRP_FRAMES] = chirp()
        at_s += dice.uniform(*SPACING_S)
    return sound


def find_chirps(recorded: Pcm) -> list[int]:
    """The frame at which each begins."""
    alike = _likeness(recorded)
    found: list[int] = []
    apart = round(SPACING_S[0] * RATE_HZ * 0.8)
    order = np.argsort(alike)[::-1]
    for at in order[: np.searchsorted(-alike[order], -_FOUND)]:
        if all(abs(int(at) - other) > apart for other in found):
            found.append(int(at))
    return sorted(found)


def _likeness(recorded: Pcm) -> _Wave:
    """The magnitude of the normalised correlation with the chirp at each place; silence is like nothing. A codec turns
    phases, so the envelope counts: the correlation with the chirp and with the chirp turned by 90°."""
    sound = recorded.astype(np.float64)
    if len(sound) < CHIRP_FRAMES:
        return np.zeros(0)
    size = 1 << (len(sound) + CHIRP_FRAMES).bit_length()
    spectrum = np.fft.fft(sound, size)
    analytic = _analytic(chirp().astype(np.float64))
    cross = np.abs(np.fft.ifft(spectrum * np.conj(np.fft.fft(analytic, size))))[: len(sound) - CHIRP_FRAMES + 1]
    sums = np.concatenate(([0.0], np.cumsum(np.square(sound))))
    energy = np.maximum(sums[CHIRP_FRAMES:] - sums[:-CHIRP_FRAMES], CHIRP_FRAMES * 100.0**2)
    alike: _Wave = cross / np.sqrt(energy * float(np.sum(np.square(chirp().astype(np.float64)))))
    return alike


def _analytic(wave: _Wave) -> npt.NDArray[np.complex128]:
    spectrum = np.fft.fft(wave)
    spectrum[len(wave) // 2 + 1 :] = 0
    spectrum[1 : len(wave) // 2] *= 2
    turned: npt.NDArray[np.complex128] = np.fft.ifft(spectrum)
    return turned


@dataclass(frozen=True, slots=True)
class Dated:
    """A recording; its first frame was played at `began_s` (CLOCK_MONOTONIC)."""

    pcm: Pcm
    began_s: float

    def at(self, frame: int) -> float:
        return self.began_s + frame / RATE_HZ


def delays_s(spoken: Dated, heard: Dated, longest_s: float) -> tuple[list[float], int]:
    """For each chirp of `spoken` that is in `heard` not later than `longest_s`: its delay. And how many were spoken
    early enough to be heard."""
    arrivals = [heard.at(frame) for frame in find_chirps(heard.pcm)]
    end_s = heard.at(len(heard.pcm)) - longest_s
    begins = [at_s for at_s in map(spoken.at, find_chirps(spoken.pcm)) if heard.began_s <= at_s <= end_s]
    delays = []
    for at_s in begins:
        later = [arrival_s - at_s for arrival_s in arrivals if 0 <= arrival_s - at_s <= longest_s]
        if later:
            delays.append(min(later))
    return delays, len(begins)


def without_pauses(voice: Pcm) -> Pcm:
    """Speech that never stops, so that any moment without it is a gap."""
    blocks = voice[: len(voice) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    power = np.mean(np.square(blocks.astype(np.float64)), axis=1)
    loud = blocks[power >= power.max() * 10 ** (-_SPEECH_BELOW_PEAK_DB / 10)].astype(np.float64)
    ramp = np.ones(_BLOCK)
    ramp[:_JOIN_FRAMES] = np.linspace(0, 1, _JOIN_FRAMES)
    ramp[-_JOIN_FRAMES:] = np.linspace(1, 0, _JOIN_FRAMES)
    spoken: Pcm = (loud * ramp).astype(np.int16).reshape(-1)
    return spoken


def percentile(values: Sequence[float], percent: float) -> float:
    """Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    return float(np.percentile(values, percent))


def voice_from_s(source: Pcm, recorded: Pcm, after_s: float) -> float | None:
    """When `source`, said over and over, is heard again in `recorded` after `after_s`: seconds from the beginning of
    the recording, to some 20 ms. None if it is not.

    `demo.returning` finds the first 400 ms that are mostly that voice; from their middle on short windows are followed
    back at the same distance, as long as one of two in a row is still the voice."""
    around = np.concatenate((source, source))
    end_s = returns_s(around, recorded, after_s)
    if end_s is None:
        return None
    voice, room = narrow(around), narrow(recorded)
    start = round((end_s - BLOCK_S) * WORK_HZ)
    place = _place(voice, room[start : start + round(BLOCK_S * WORK_HZ)])
    first = at = start + round(BLOCK_S * WORK_HZ / 2)
    while at - _STEP >= after_s * WORK_HZ and at > first - _PATIENCE:
        at -= _STEP
        if _still(voice, room, at, place - start):
            first = at
    return first / WORK_HZ


def _place(voice: _Wave, block: _Wave) -> int:
    """Where in the voice the block lies."""
    size = 1 << (len(voice) + len(block)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(voice, size) * np.conj(np.fft.rfft(block, size)), size)
    return int(np.argmax(cross[: len(voice) - len(block) + 1]))


def _still(voice: _Wave, room: _Wave, at: int, offset: int) -> bool:
    """Whether the window of the room at `at` is the voice, at most 5 ms off."""
    heard = room[at : at + _WINDOW]
    period = len(voice) // 2
    for slip in range(-_SLIP, _SLIP + 1, 2):
        start = (at + offset + slip) % period
        said = voice[start : start + _WINDOW]
        norm = float(np.sqrt(np.dot(heard, heard) * np.dot(said, said)))
        if norm > 0 and float(np.dot(heard, said)) / norm >= _FOUND:
            return True
    return False
