"""A resampler whose ratio may be any number and may change at any time, for clocks that differ and for cards that grant
another rate than 48 kHz.

Why not soxr's variable-rate stream (measured, soxr 1.1.0): it hands out 480 or 479 frames for 480, as it likes, keeps
240 frames (5 ms) back from the start, and upstream calls the interface experimental. This one gives exactly as many
frames as are asked for, looks 16 frames (0.33 ms) ahead, and is the identity at a whole position, so that it can be
taken in and out of the path without a step; with 16-bit samples both are as clean.

It is a Farrow structure: a windowed sinc of 32 taps whose every tap is a polynomial in the position between two frames
(C. W. Farrow, ISCAS 1988), so one small matrix product serves all positions.
"""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import Pcm

_Wave = npt.NDArray[np.float32]

_TAPS = 32
_DEGREE = 6
"""Of the polynomials: they fit to −101 dB; the window's stop band (Kaiser, β = 9) is not much higher."""
_BETA = 9.0
_GUARD = 0.92
"""Where the rate changes by more than crystals differ, the sinc leaves room for its slope below the lower Nyquist
frequency."""
_SAME_RATE = 0.002
_COUNT = np.arange(48 * 200, dtype=np.float64)

LOOK_AHEAD_FRAMES = _TAPS // 2
"""Input that must be there beyond the position that is computed, at about the same rate."""


class Resampler:
    """`put` input frames, `take` output frames; for one thread. `step` is input frames per output frame; changes of up
    to 0.2 % around 1 are continuous in phase and leave nothing to be heard."""

    def __init__(self, step: float = 1.0, before: Pcm | None = None) -> None:
        """The first output frame is heard at the first frame that is put; `before` is what came before it, silence if
        it is None. A `step` other than about 1 fixes the filter: it cannot be changed much afterwards."""
        self.step = step
        self._filter = _filter(_cutoff(step))
        self._half = len(self._filter) // 2
        self._held: _Wave = np.zeros(self._half - 1, np.float32)
        self._phase = 0.0
        """The next output's position, in frames after the middle of the first window in `_held`."""
        if before is not None:
            tail = before[max(0, len(before) - self._half + 1) :]
            self._held[len(self._held) - len(tail) :] = tail

    def put(self, pcm: Pcm) -> None:
        """Any length."""
        self._held = np.concatenate((self._held, pcm), dtype=np.float32, casting="same_kind")

    def missing(self, frames: int) -> int:
        """How many more frames must be put before so many can be taken."""
        if not frames:
            return 0
        last = math.floor(self._phase + (frames - 1) * self.step)
        return max(0, last + 2 * self._half - len(self._held))

    @property
    def ready(self) -> int:
        """How many frames can be taken."""
        span = len(self._held) - 2 * self._half + 1 - self._phase
        return 0 if span <= 0 else math.ceil(span / self.step)

    def take(self, frames: int) -> Pcm:
        """Exactly so many. Raises `ValueError` where some are missing."""
        missing = self.missing(frames)
        if missing:
            raise ValueError(f"{frames} frames were asked for; {missing} more must be put first")
        if not self._held.any():
            self._advance(frames)
            return np.zeros(frames, np.int16)
        at = self._phase + self.step * (
            _COUNT[:frames] if frames <= len(_COUNT) else np.arange(frames, dtype=np.float64)
        )
        sound = _interpolated(self._held, self._filter, at)
        self._advance(frames)
        return sound

    def _advance(self, frames: int) -> None:
        end = self._phase + frames * self.step
        used = math.floor(end)
        self._held, self._phase = self._held[used:], end - used


def _interpolated(held: _Wave, taps: _Wave, at: npt.NDArray[np.float64]) -> Pcm:
    """Horner's rule over the polynomials' values, then to the format. `at` rises."""
    terms = _windows(held, len(taps), at) @ taps
    offset = (at - np.floor(at) - 0.5).astype(np.float32)
    sound: _Wave = terms[:, -1].copy()
    for power in range(terms.shape[1] - 2, -1, -1):
        sound *= offset
        sound += terms[:, power]
    return np.rint(sound, out=sound).clip(-32768, 32767).astype(np.int16)


def _windows(held: _Wave, width: int, at: npt.NDArray[np.float64]) -> _Wave:
    """For each position the input around it, shape (positions, width). numpy's sliding_window_view alone would take
    longer than all the rest; copying rows that follow each other is twice as fast as picking them."""
    size = held.itemsize
    rows: _Wave = np.ndarray((len(held) - width + 1, width), np.float32, held.data, strides=(size, size))
    first, last = int(at[0]), int(at[-1])
    if last - first == len(at) - 1:
        return np.ascontiguousarray(rows[first : last + 1])
    return rows[at.astype(np.int64)]


def _cutoff(step: float) -> float:
    """Of the input's Nyquist frequency."""
    if abs(step - 1.0) <= _SAME_RATE:
        return 1.0
    return _GUARD * min(1.0, 1.0 / step)


@cache
def _filter(cutoff: float) -> _Wave:
    """Coefficients, shape (taps, degree + 1), fitted at Chebyshev nodes; more taps for a lower cut-off."""
    taps = 2 * math.ceil(_TAPS / 2 / cutoff)
    offsets = np.arange(taps) - taps // 2 + 1
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    sought = _windowed_sinc(nodes[:, None] - offsets[None, :], cutoff, taps / 2)
    sought /= sought.sum(axis=1, keepdims=True)  # a constant stays exactly itself at every position
    powers = np.vander(nodes - 0.5, _DEGREE + 1, increasing=True)
    fitted, *_ = np.linalg.lstsq(powers, sought, rcond=None)
    coefficients: _Wave = np.ascontiguousarray(fitted.T, dtype=np.float32)
    coefficients.setflags(write=False)
    return coefficients


def _windowed_sinc(x: npt.NDArray[np.float64], cutoff: float, half: float) -> npt.NDArray[np.float64]:
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (x / half) ** 2, 0, None))) / np.i0(_BETA)
    shaped: npt.NDArray[np.float64] = cutoff * np.sinc(cutoff * x) * window
    return shaped
