"""Between the card's 48 kHz and the 16 kHz at which an echo is modelled and looked for: a voice's echo lies below
7 kHz, and a third of the frames is a third of the work.

Both filters are one and the same linear-phase low-pass, applied as a small banded matrix to overlapping blocks.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ

FACTOR: Final = 3
NARROW_HZ: Final = RATE_HZ // FACTOR
NARROW_FRAMES: Final = PERIOD_FRAMES // FACTOR
LATE_FRAMES: Final = 24
"""By how much either direction delays, at 48 kHz."""
_TAPS: Final = 2 * LATE_FRAMES + 1
_CORNER_HZ: Final = 6_800.0
_BLOCK: Final = 10
_BLOCKS: Final = NARROW_FRAMES // _BLOCK
_OVERLAP: Final = 2 * LATE_FRAMES // FACTOR

Wave = npt.NDArray[np.float32]


def _low_pass() -> npt.NDArray[np.float64]:
    at = np.arange(_TAPS) - LATE_FRAMES
    taps = np.sinc(2 * _CORNER_HZ / RATE_HZ * at) * np.kaiser(_TAPS, 5.0)
    return np.asarray(taps / taps.sum())


class Narrower:
    """From 48 to 16 kHz, `channels` at once, for one thread."""

    def __init__(self, channels: int) -> None:
        taps, width = _low_pass(), FACTOR * (_BLOCK - 1) + _TAPS
        self._line: Wave = np.zeros((channels, 2 * LATE_FRAMES + PERIOD_FRAMES), np.float32)
        step, frame = FACTOR * _BLOCK * self._line.itemsize, self._line.itemsize
        self._blocks = np.lib.stride_tricks.as_strided(
            self._line, (channels, _BLOCKS, width), (self._line.strides[0], step, frame)
        )
        matrix = np.zeros((width, _BLOCK), np.float32)
        for turn in range(_BLOCK):
            matrix[FACTOR * turn : FACTOR * turn + _TAPS, turn] = taps
        self._matrix = matrix
        self._channels = channels

    def __call__(self, *periods: npt.NDArray[np.generic]) -> Wave:
        """One period of each channel, shape (480,); returns shape (channels, 160), `LATE_FRAMES` late."""
        self._line[:, : 2 * LATE_FRAMES] = self._line[:, PERIOD_FRAMES:]
        for line, period in zip(self._line, periods, strict=True):
            line[2 * LATE_FRAMES :] = period
        narrow: Wave = (self._blocks @ self._matrix).reshape(self._channels, NARROW_FRAMES)
        return narrow


class Widener:
    """From 16 to 48 kHz, for one thread."""

    def __init__(self) -> None:
        taps, width = _low_pass() * FACTOR, _BLOCK + _OVERLAP
        self._line: Wave = np.zeros(_OVERLAP + NARROW_FRAMES, np.float32)
        frame = self._line.itemsize
        self._blocks = np.lib.stride_tricks.as_strided(self._line, (_BLOCKS, width), (_BLOCK * frame, frame))
        matrix = np.zeros((width, FACTOR * _BLOCK), np.float32)
        for turn in range(FACTOR * _BLOCK):
            for index in range(width):
                # Frame `index` of the line is `_OVERLAP` frames older than the block's own `index`.
                tap = turn - FACTOR * (index - _OVERLAP)
                if 0 <= tap < _TAPS:
                    matrix[index, turn] = taps[tap]
        self._matrix = matrix

    def __call__(self, narrow: Wave) -> Wave:
        """The next 160 frames; returns shape (480,), `LATE_FRAMES` late."""
        self._line[:_OVERLAP] = self._line[NARROW_FRAMES:]
        self._line[_OVERLAP:] = narrow
        wide: Wave = (self._blocks @ self._matrix).ravel()
        return wide
