"""A high-pass for the microphone: handling noise, wind and mains hum lie below a voice and cost its bits.

A recursion has no vector form of its own, so a period is cut into short rows: within a row the filter is one small
matrix, from row to row only its two states are handed on, and that recurrence over the rows is a matrix as well.
"""

import math

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

CORNER_HZ = 90.0
"""Below the lowest men's voices, above mains hum."""
_ROW = 20
_ROWS = PERIOD_FRAMES // _ROW

_Matrix = npt.NDArray[np.float64]


class HighPass:
    """Second-order Butterworth, for one thread."""

    def __init__(self, corner_hz: float = CORNER_HZ) -> None:
        """`corner_hz` is where it has fallen by 3 dB."""
        step, into, out, direct = _state_space(corner_hz)
        powers = [np.linalg.matrix_power(step, n) for n in range(_ROW + 1)]
        observe = np.array([out @ powers[n] for n in range(_ROW)])
        within = _toeplitz([direct, *(float(observe[n] @ into) for n in range(_ROW - 1))])
        self._collect = np.array([powers[_ROW - 1 - n] @ into for n in range(_ROW)])
        self._out = np.ascontiguousarray(np.concatenate((within, observe), axis=1).T)
        self._across = _over_rows(powers[_ROW])
        # Memory of its own, and few calls: in an audio thread each of numpy's costs more than the sums that it does.
        self._rows = np.zeros((_ROWS, _ROW + 2))
        """A row's frames, and the states before it."""
        self._added = np.zeros(2 * (_ROWS + 1))
        """The states before the period, and what each row adds to them."""
        self._filtered = np.zeros((_ROWS, _ROW))

    def __call__(self, period: Pcm) -> Pcm:
        """The next period, shape (480,), filtered; what it leaves over goes into the next one."""
        rows, added, filtered = self._rows, self._added, self._filtered
        rows[:, :_ROW] = period.reshape(_ROWS, _ROW)
        added[2:].reshape(_ROWS, 2)[:] = rows[:, :_ROW] @ self._collect
        states = self._across @ added
        rows[:, _ROW:] = states[:-2].reshape(_ROWS, 2)
        added[:2] = states[-2:]
        np.matmul(rows, self._out, out=filtered)
        np.rint(filtered, out=filtered)
        np.maximum(filtered, -32768, out=filtered)
        np.minimum(filtered, 32767, out=filtered)
        return filtered.ravel().astype(np.int16)

    def clear(self) -> None:
        """Another recording begins."""
        self._added[:] = 0


def _state_space(corner_hz: float) -> tuple[_Matrix, _Matrix, _Matrix, float]:
    """The bilinear transform of the Butterworth prototype, as z' = step·z + into·x and y = out·z + direct·x."""
    w = math.tan(math.pi * corner_hz / RATE_HZ)
    norm = 1 + math.sqrt(2) * w + w * w
    b0, b1, b2 = 1 / norm, -2 / norm, 1 / norm
    a1, a2 = 2 * (w * w - 1) / norm, (1 - math.sqrt(2) * w + w * w) / norm
    step = np.array([[-a1, 1.0], [-a2, 0.0]])  # transposed direct form II
    return step, np.array([b1 - a1 * b0, b2 - a2 * b0]), np.array([1.0, 0.0]), b0


def _toeplitz(response: list[float]) -> _Matrix:
    """Lower-triangular: convolution with the impulse response."""
    matrix = np.zeros((_ROW, _ROW))
    for delay, value in enumerate(response):
        matrix += value * np.eye(_ROW, k=-delay)
    return matrix


def _over_rows(step: _Matrix) -> _Matrix:
    """The states before each row and after the last one, stacked: from the first ones and what each row adds."""
    powers = [np.linalg.matrix_power(step, n) for n in range(_ROWS + 1)]
    across = np.zeros((2 * (_ROWS + 1), 2 * (_ROWS + 1)))
    for before in range(_ROWS + 1):
        for row in range(before + 1):
            across[2 * before : 2 * before + 2, 2 * row : 2 * row + 2] = powers[before - row]
    return across
