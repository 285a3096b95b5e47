"""A linear echo canceller of our own, for double talk: it takes away only what is a filtered copy of the reference, and
so leaves a near end as it is, where AEC3's suppressor takes the near end along with the echo.

Partitioned-block frequency-domain Kalman filter (Enzner and Vary, 2006): the step of each bin follows from how
uncertain the filter is and from what the near end says at the moment, so that it need not be frozen in double talk.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

PARTITIONS: Final = 10
"""100 ms of echo from `AHEAD_FRAMES` before the measured delay on."""
AHEAD_FRAMES: Final = RATE_HZ * 2 // 1000
_REACH_FRAMES: Final = RATE_HZ * 420 // 1000
_TOLERATED_FRAMES: Final = RATE_HZ * 4 // 1000
"""A delay that is found anew within this is the same one."""
_KEPT: Final = 0.9997**2
"""How certain the filter stays of itself from period to period: rooms change."""
_NEAR: Final = 0.2
_CROSS: Final = 0.15
_BAND: Final = slice(6, 80)
"""300 to 4000 Hz, where voices are."""

_Spectrum = npt.NDArray[np.complex64]
_Wave = npt.NDArray[np.float32]


class LinearCanceller:
    """For one thread. After each `process`: `left_db` and `echo_db`, the levels (dB, of one scale) of what it leaves
    and of the echo that it took away, and `alike`, 0 to 1, how far the one is a filtered copy of the other: an echo
    that is not modelled is, a near end is not."""

    def __init__(self) -> None:
        self._line: _Wave = np.zeros(_REACH_FRAMES + 2 * PERIOD_FRAMES, np.float32)
        self._delay = 0
        self._clear()

    def aim(self, delay_frames: int) -> None:
        """The echo begins so far behind the reference. Learns anew when that is another place."""
        delay = max(0, min(delay_frames - AHEAD_FRAMES, _REACH_FRAMES))
        if abs(delay - self._delay) > _TOLERATED_FRAMES:
            self._delay = delay
            self._clear()

    def process(self, captured: Pcm, reference: Pcm) -> _Wave:
        """What is left of `captured` without the echo, shape (480,), float, at once."""
        self._line[:-PERIOD_FRAMES] = self._line[PERIOD_FRAMES:]
        self._line[-PERIOD_FRAMES:] = reference
        end = len(self._line) - self._delay
        self._heard[1:] = self._heard[:-1]
        self._heard[0] = np.fft.rfft(self._line[end - 2 * PERIOD_FRAMES : end])
        echo = np.fft.irfft((self._filter * self._heard).sum(axis=0))[PERIOD_FRAMES:].astype(np.float32)
        left = captured.astype(np.float32) - echo
        error, modelled = _late(left), _late(echo)
        self._measure(error, modelled)
        self._learn(error)
        return left

    def _clear(self) -> None:
        bins = PERIOD_FRAMES + 1
        self._heard: _Spectrum = np.zeros((PARTITIONS, bins), np.complex64)
        self._filter: _Spectrum = np.zeros((PARTITIONS, bins), np.complex64)
        # A room decays: the later, the less is to be expected.
        decay = 10.0 ** (-1.5 * np.arange(PARTITIONS) * PERIOD_FRAMES / RATE_HZ / 0.35)
        self._doubt: _Wave = np.ones((PARTITIONS, bins), np.float32) * decay[:, None].astype(np.float32)
        self._near: _Wave = np.full(bins, 1e6, np.float32)
        self._left: _Wave = np.ones(bins, np.float32)
        self._echo: _Wave = np.ones(bins, np.float32)
        self._both: _Spectrum = np.zeros(bins, np.complex64)
        self.left_db = self.echo_db = 0.0
        self.alike = 1.0

    def _measure(self, error: _Spectrum, modelled: _Spectrum) -> None:
        left, echo = _power(error), _power(modelled)
        self._near += _NEAR * (left - self._near)
        self._left += _CROSS * (left - self._left)
        self._echo += _CROSS * (echo - self._echo)
        self._both += np.complex64(_CROSS) * (error * np.conj(modelled) - self._both)
        shared = _power(self._both[_BAND]) / (self._echo[_BAND] + 1.0)
        self.alike = float(shared.sum() / (self._left[_BAND].sum() + 1.0))
        self.left_db = 10 * math.log10(float(left.sum()) + 1.0)
        self.echo_db = 10 * math.log10(float(echo.sum()) + 1.0)

    def _learn(self, error: _Spectrum) -> None:
        loud = _power(self._heard)
        step = self._doubt / ((self._doubt * loud).sum(axis=0) + 2 * self._near + 1.0)
        change = np.fft.irfft(step * np.conj(self._heard) * error, axis=1)
        change[:, PERIOD_FRAMES:] = 0  # or the circular convolution wraps around
        self._filter += np.fft.rfft(change, axis=1).astype(np.complex64)
        self._doubt *= _KEPT * (1 - 0.5 * step * loud)
        self._doubt += (1 - _KEPT) * _power(self._filter)


def _late(wave: _Wave) -> _Spectrum:
    """The spectrum of a block in the second half of its window (overlap-save)."""
    window = np.zeros(2 * PERIOD_FRAMES, np.float32)
    window[PERIOD_FRAMES:] = wave
    return np.fft.rfft(window).astype(np.complex64)


def _power(spectrum: _Spectrum) -> _Wave:
    power: _Wave = spectrum.real**2 + spectrum.imag**2
    return power
