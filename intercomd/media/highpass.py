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
        self._observe = np.array([out @ powers[n] for n in range(_ROW)])
        self._collect = np.array([powers[_ROW - 1 - n] @ into for n in range(_ROW)])
        self._within = _toeplitz([direct, *(float(self._observe[n] @ into) for n in range(_ROW - 1))])
        self._begin, self._across = _over_rows(powers[_ROW])
        self._state = np.zeros(2)

    def __call__(self, period: Pcm) -> Pcm:
        """The next period, shape (480,), filtered; what it leaves over goes into the next one."""
        rows = period.reshape(_ROWS, _ROW).astype(np.float64)
        states = self._begin @ self._state + self._across @ (rows @ self._collect).ravel()
        before = np.empty((_ROWS, 2))
        before[0] = self._state
        before[1:] = states[:-2].reshape(-1, 2)
        self._state = states[-2:]
        filtered = (rows @ self._within.T + before @ self._observe.T).ravel()
        whole: Pcm = np.rint(filtered).clip(-32768, 32767).astype(np.int16)
        return whole

    def clear(self) -> None:
        """Another recording begins."""
        self._state = np.zeros(2)


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


def _over_rows(step: _Matrix) -> tuple[_Matrix, _Matrix]:
    """The states after each row, stacked: from the first state, and from what each row adds."""
    powers = [np.linalg.matrix_power(step, n) for n in range(_ROWS + 1)]
    across = np.zeros((2 * _ROWS, 2 * _ROWS))
    for after in range(_ROWS):
        for row in range(after + 1):
            across[2 * after : 2 * after + 2, 2 * row : 2 * row + 2] = powers[after - row]
    return np.concatenate(powers[1:]), across
