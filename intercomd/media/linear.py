"""A linear echo canceller of our own, for double talk: it takes away only what is a filtered copy of the reference, and
so leaves a near end as it is, where AEC3's suppressor takes the near end along with the echo.

Partitioned-block frequency-domain Kalman filter (Enzner and Vary, 2006) at 16 kHz: the step of each bin follows from
how uncertain the filter is and from what the near end says at the moment, so that it need not be frozen in double talk.

It runs every 10 ms for as long as a call lasts, beside a budget of hundredths of a core: so the gradient constraint
visits one partition a period (as AEC3 does; all of them gain nothing), transforms go in pairs, and a far end that has
been silent for as long as the filter reaches costs next to nothing.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.media.narrow import FACTOR, NARROW_FRAMES, NARROW_HZ, Wave

PARTITIONS: Final = 10
"""100 ms of echo from `_AHEAD_FRAMES` before the measured delay on."""
_AHEAD_FRAMES: Final = NARROW_HZ * 2 // 1000
_REACH_FRAMES: Final = NARROW_HZ * 420 // 1000
_TOLERATED_FRAMES: Final = NARROW_HZ * 4 // 1000
"""A delay that is found anew within this is the same one."""
_WINDOW: Final = 2 * NARROW_FRAMES
_BINS: Final = NARROW_FRAMES + 1
_KEPT: Final = 0.9997**2
"""How certain the filter stays of itself from period to period: rooms change."""
_NEAR: Final = np.float32(0.2)
_CROSS: Final = np.float32(0.15)
_LOW: Final = 6
_HIGH: Final = 80
"""300 to 4000 Hz, where voices are."""
_SILENT_POWER: Final = 16.0**2 * NARROW_FRAMES
"""−66 dBFS: no echo of it is heard."""

_Spectrum = npt.NDArray[np.complex64]


class LinearCanceller:
    """For one thread. After each `process`: `left_db` and `echo_db`, the levels (dB, of one scale) of what it leaves
    and of the echo that it took away, and `alike`, 0 to 1, how far the one is a filtered copy of the other: an echo
    that is not modelled is, a near end is not."""

    def __init__(self) -> None:
        self._line: Wave = np.zeros(_REACH_FRAMES + _WINDOW, np.float32)
        self._delay = self._silent = 0
        self._clear()

    def aim(self, delay_frames: int) -> None:
        """The echo begins so far behind the reference, at 48 kHz. Learns anew when that is another place."""
        delay = max(0, min(delay_frames // FACTOR - _AHEAD_FRAMES, _REACH_FRAMES))
        if abs(delay - self._delay) > _TOLERATED_FRAMES:
            self._delay = delay
            self._clear()

    def process(self, captured: Wave, reference: Wave) -> Wave:
        """The echo in `captured`, all three of shape (160,) at 16 kHz, at once."""
        self._line[:-NARROW_FRAMES] = self._line[NARROW_FRAMES:]
        self._line[-NARROW_FRAMES:] = reference
        self._silent = self._silent + 1 if float(np.dot(reference, reference)) < _SILENT_POWER else 0
        if self._silent > PARTITIONS + 2 + self._delay // NARROW_FRAMES:
            self.left_db = 10 * math.log10(float(np.dot(captured, captured)) * NARROW_FRAMES + 1.0)  # Parseval
            self.echo_db = 0.0
            return _SILENCE
        echo = self._model()
        self._pair[1, NARROW_FRAMES:] = echo
        np.subtract(captured, echo, out=self._pair[0, NARROW_FRAMES:])
        pair = np.fft.rfft(self._pair).astype(np.complex64, copy=False)
        self._measure(pair)
        self._learn(pair[0])
        return echo

    def _clear(self) -> None:
        shape = (PARTITIONS, _BINS)
        # Twice round, so that the newest partitions always lie in one piece.
        self._heards: _Spectrum = np.zeros((2 * PARTITIONS, _BINS), np.complex64)
        self._louds: Wave = np.zeros((2 * PARTITIONS, _BINS), np.float32)
        self._at = self._turn = 0
        self._filter: _Spectrum = np.zeros(shape, np.complex64)
        # A room decays: the later, the less is to be expected.
        decay = 10.0 ** (-1.5 * np.arange(PARTITIONS) * NARROW_FRAMES / NARROW_HZ / 0.35)
        self._doubt: Wave = np.ones(shape, np.float32) * decay[:, None].astype(np.float32)
        self._near: Wave = np.full(_BINS, 3e5, np.float32)
        self._means: Wave = np.ones((2, _HIGH), np.float32)
        self._both: _Spectrum = np.zeros(_HIGH, np.complex64)
        self.left_db = self.echo_db = 0.0
        self.alike = 1.0
        # Windows and spectra that are used in each period anew: what is left and the echo, in the second halves
        # (overlap-save); the reference, and the partition whose turn it is to be constrained, in the first half, or
        # the circular convolution wraps around.
        self._pair: Wave = np.zeros((2, _WINDOW), np.float32)
        self._into: Wave = np.zeros((2, _WINDOW), np.float32)
        self._out_of: _Spectrum = np.zeros((2, _BINS), np.complex64)
        self._change: _Spectrum = np.zeros(shape, np.complex64)
        self._rate: Wave = np.zeros(shape, np.float32)

    def _model(self) -> Wave:
        end = len(self._line) - self._delay
        self._into[0] = self._line[end - _WINDOW : end]
        heard, self._filter[self._turn] = np.fft.rfft(self._into)
        self._at = at = (self._at - 1) % PARTITIONS
        self._heards[at::PARTITIONS] = heard
        self._louds[at::PARTITIONS] = _power(heard)
        self._turn = turn = (self._turn + 1) % PARTITIONS
        np.multiply(self._filter, self._heards[at : at + PARTITIONS], out=self._change)
        np.add.reduce(self._change, axis=0, out=self._out_of[0])
        self._out_of[1] = self._filter[turn]
        waves = np.fft.irfft(self._out_of)
        self._into[1, :NARROW_FRAMES] = waves[1, :NARROW_FRAMES]
        echo: Wave = waves[0, NARROW_FRAMES:].astype(np.float32, copy=False)
        return echo

    def _measure(self, pair: _Spectrum) -> None:
        powers = _power(pair)
        left, echo = powers.sum(axis=1)
        self.left_db, self.echo_db = 10 * math.log10(left + 1.0), 10 * math.log10(echo + 1.0)
        self._near += _NEAR * (powers[0] - self._near)
        self._means += _CROSS * (powers[:, :_HIGH] - self._means)
        self._both += _CROSS * (pair[0, :_HIGH] * pair[1, :_HIGH].conj() - self._both)
        shared = _power(self._both) / (self._means[1] + np.float32(1))
        self.alike = float(shared[_LOW:].sum() / (self._means[0, _LOW:].sum() + 1.0))

    def _learn(self, error: _Spectrum) -> None:
        at, rate, change = self._at, self._rate, self._change
        np.multiply(self._doubt, self._louds[at : at + PARTITIONS], out=rate)
        under = rate.sum(axis=0) + 2 * self._near + np.float32(1)
        np.conjugate(self._heards[at : at + PARTITIONS], out=change)
        change *= error / under
        change *= self._doubt
        self._filter += change
        rate *= np.float32(-0.5 * _KEPT) / under
        rate += np.float32(_KEPT)
        self._doubt *= rate
        if self._turn == 0:  # a slow term: once for all its turns
            self._doubt += np.float32(PARTITIONS * (1 - _KEPT)) * _power(self._filter)


_SILENCE: Final[Wave] = np.zeros(NARROW_FRAMES, np.float32)
_SILENCE.setflags(write=False)


def _power(spectrum: _Spectrum) -> Wave:
    power: Wave = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return power
