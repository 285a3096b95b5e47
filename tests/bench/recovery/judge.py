"""Where in a recording is a voice that is said over and over, and where are its holes? Pure.

The recording is looked through in overlapping blocks, each slid over the voice (normalised cross-correlation, telephone
bandwidth). Within a block that is the voice, windows of 40 ms are compared at the same distance, some milliseconds to
and fro, since a receive buffer stretches. What is in no such window is a hole: silence, a tone, somebody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.demo.listen import WORK_HZ, narrow
from intercomd.media.pcm import Pcm

CELL_S: Final = 0.01
HOLE_S: Final = 0.25
"""Shorter ones are concealment or a soft sound; nobody calls that a call that went silent."""
OPEN_S: Final = 0.6
"""A recording's end may be cut off in the middle of a word; only after so long somebody is away."""
_ALIKE: Final = 0.5
"""Normalised correlation of a window, and of a block of which a part may be missing."""
_QUIET_RMS: Final = 15.0
_CELL: Final = round(CELL_S * WORK_HZ)
_WINDOW: Final = 4 * _CELL
_BLOCK: Final = 40 * _CELL
_STEP: Final = 10 * _CELL
_SLIP: Final = _CELL // 2

_Wave = npt.NDArray[np.float64]
Presence = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hole:
    """Seconds by the recording's clock. `end_s` is None for one that lasts to the end of the recording."""

    begin_s: float
    end_s: float | None


def presence(voice: Pcm, recorded: Pcm) -> Presence:
    """For each 10 ms of the recording whether `voice` is heard. Both 48 kHz mono."""
    said, room = narrow(np.concatenate((voice, voice))), narrow(recorded)
    heard = np.zeros(len(room) // _CELL, np.bool_)
    if len(said) < 2 * _BLOCK:
        raise ValueError("the voice is shorter than a block")
    look, offset = _Look(said), 0
    for start in range(0, len(room) - _BLOCK + 1, _STEP):
        block = room[start : start + _BLOCK]
        if float(np.dot(block, block)) < _WINDOW * _QUIET_RMS**2:
            continue
        found = look.windows(block, (start + offset) % look.period)  # mostly it goes on where it was
        if not found.all():
            place = look.place(block)
            if place is None:
                continue
            offset = place - start
            found = look.windows(block, place)
        cells = start // _CELL + _WINDOW // _CELL // 2 + np.flatnonzero(found)
        heard[cells[cells < len(heard)]] = True
    return heard


def holes(heard: Presence, began_s: float, *, at_least_s: float = HOLE_S) -> list[Hole]:
    """The holes of this length and more; `began_s` is the date of the recording's first frame."""
    changes = np.flatnonzero(np.diff(np.concatenate(([1], heard.astype(np.int8), [1]))))
    found = []
    for begin, end in changes.reshape(-1, 2):
        lasts = end >= len(heard)
        if (end - begin) * CELL_S >= (max(at_least_s, OPEN_S) if lasts else at_least_s):
            found.append(Hole(began_s + float(begin) * CELL_S, None if lasts else began_s + float(end) * CELL_S))
    return found


def back_s(found: Sequence[Hole], since_s: float) -> float | None:
    """Seconds from `since_s` until the voice flows for good; 0 if it was never away after that, None if it is away at
    the end."""
    late = [hole for hole in found if hole.end_s is None or hole.end_s > since_s]
    if not late:
        return 0.0
    end_s = late[-1].end_s
    return None if end_s is None else end_s - since_s


def longest_hole_s(heard: Presence, began_s: float, from_s: float, to_s: float) -> float:
    """Between the two dates; `began_s` as above."""
    cells = _between(heard, began_s, from_s, to_s)
    found = holes(cells, 0.0, at_least_s=CELL_S)
    return max(((hole.end_s or len(cells) * CELL_S) - hole.begin_s for hole in found), default=0.0)


def share(heard: Presence, began_s: float, from_s: float, to_s: float) -> float:
    """How much of that time the voice is heard, 0 to 1."""
    cells = _between(heard, began_s, from_s, to_s)
    return float(cells.mean()) if len(cells) else 0.0


def _between(heard: Presence, began_s: float, from_s: float, to_s: float) -> Presence:
    first, last = (max(0, round((date_s - began_s) / CELL_S)) for date_s in (from_s, to_s))
    return heard[first:last]


class _Look:
    """A voice whose spectrum is made once."""

    def __init__(self, said: _Wave) -> None:
        self._said = said
        self.period = len(said) // 2
        self._size = 1 << (len(said) + _BLOCK - 1).bit_length()
        self._spectrum = np.conj(np.fft.rfft(said, self._size))
        sums = np.concatenate(([0.0], np.cumsum(np.square(said))))
        self._places = len(said) - _BLOCK + 1
        self._energy = np.maximum(sums[_BLOCK:] - sums[: self._places], _BLOCK * _QUIET_RMS**2)

    def place(self, block: _Wave) -> int | None:
        """Where in the voice the block, which is not silent, lies; None if it is not the voice."""
        cross = np.fft.irfft(np.conj(np.fft.rfft(block, self._size) * self._spectrum), self._size)[: self._places]
        alike = cross / np.sqrt(self._energy * float(np.dot(block, block)))
        best = int(np.argmax(alike))
        return best if alike[best] >= _ALIKE else None

    def windows(self, block: _Wave, place: int) -> Presence:
        """For each window of the block, one every 10 ms, whether it is the voice there."""
        found = np.zeros((_BLOCK - _WINDOW) // _CELL + 1, np.bool_)
        heard = _sums(np.square(block))
        for slip in sorted(range(-_SLIP, _SLIP + 1, 2), key=abs):
            at = place + slip
            if at < 0 or at + _BLOCK > len(self._said):
                continue
            said = self._said[at : at + _BLOCK]
            norm = np.sqrt(np.maximum(heard * _sums(np.square(said)), 1.0))
            found |= (_sums(block * said) / norm >= _ALIKE) & (heard >= _WINDOW * 1.0)
            if found.all():
                break
        return found


def _sums(wave: _Wave) -> _Wave:
    """Of each window."""
    total = np.concatenate(([0.0], np.cumsum(wave)))
    starts = np.arange(0, len(wave) - _WINDOW + 1, _CELL)
    return total[starts + _WINDOW] - total[starts]
