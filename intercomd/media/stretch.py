"""Voice made shorter or longer by one period of its pitch (waveform similarity overlap-add). Pure.

The place to cut is where the sound looks most like itself a little later: cross-faded there, a steady vowel loses or
gains a cycle and nobody hears it. What is not alike enough is left as it is, unless it is too quiet to matter.
"""

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import RATE_HZ, Pcm

LEAST_LAG = RATE_HZ // 400
"""2.5 ms: the pitch of a high voice, 400 Hz."""
MOST_LAG = RATE_HZ // 66
"""15 ms: of a very low one."""
_OVERLAP = RATE_HZ // 200
"""5 ms."""
_COARSE = 4
"""The first search is at 12 kHz: pitch lives far below."""
_QUIET_PEAK = 250
"""−42 dBFS: pauses, where any place will do."""
_ALIKE, _ALIKE_ENOUGH = 0.9, 0.6
"""Normalised correlation: for a change that nobody asked for, and for one that brings delay back in a hurry."""

_Wave = npt.NDArray[np.float32]
_RISE: _Wave = (0.5 - 0.5 * np.cos(np.pi * (np.arange(_OVERLAP) + 0.5) / _OVERLAP)).astype(np.float32)


def shortened(pcm: Pcm, most: int, *, hurry: bool = False) -> Pcm:
    """`pcm`, any shape (n,), less one period of at most `most` frames; the very same array if there is none."""
    lag = _lag(pcm, most, hurry)
    if not lag:
        return pcm
    joined = _crossfade(pcm[:_OVERLAP], pcm[lag : lag + _OVERLAP])
    return np.concatenate((joined, pcm[lag + _OVERLAP :]))


def lengthened(pcm: Pcm, most: int, *, hurry: bool = False) -> Pcm:
    """`pcm`, any shape (n,), with one period of at most `most` frames repeated; the same array if there is none."""
    lag = _lag(pcm, most, hurry)
    if not lag:
        return pcm
    joined = _crossfade(pcm[lag : lag + _OVERLAP], pcm[:_OVERLAP])
    return np.concatenate((pcm[:lag], joined, pcm[_OVERLAP:]))


def _crossfade(before: Pcm, after: Pcm) -> Pcm:
    start = before.astype(np.float32)
    faded: Pcm = np.rint(start + (after - start) * _RISE).astype(np.int16)
    return faded


def _lag(pcm: Pcm, most: int, hurry: bool) -> int:
    """How far to shift, or 0."""
    most = min(most, MOST_LAG, len(pcm) - _OVERLAP)
    if most < LEAST_LAG:
        return 0
    wave = pcm[: most + _OVERLAP].astype(np.float32)
    if float(np.abs(wave).max()) <= _QUIET_PEAK:
        return most
    coarse = wave[: len(wave) // _COARSE * _COARSE].reshape(-1, _COARSE).mean(axis=1)
    near, _ = _best(coarse, LEAST_LAG // _COARSE, _OVERLAP // _COARSE)
    around = max(LEAST_LAG, (near - 1) * _COARSE), min(most, (near + 1) * _COARSE)
    lag, alike = _best(wave[: around[1] + _OVERLAP], around[0], _OVERLAP)
    return lag if alike >= (_ALIKE_ENOUGH if hurry else _ALIKE) else 0


def _best(wave: _Wave, least: int, overlap: int) -> tuple[int, float]:
    """The shift of at least `least` at which `wave` is most like its beginning, and how alike: −1 to 1."""
    start, later = wave[:overlap], wave[least:]
    cross = np.correlate(later, start, "valid")
    sums = np.concatenate(([0.0], np.cumsum(np.square(later, dtype=np.float64))))
    energy = (sums[overlap:] - sums[:-overlap]) * float(np.dot(start, start))
    alike = cross / np.sqrt(energy + 1.0)
    at = int(np.argmax(alike))
    return least + at, float(alike[at])
