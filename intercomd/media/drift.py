"""The drift between two sound cards' clocks, found and followed. Pure; time and positions are passed in.

Who makes sound and who takes it both count frames, each by its own crystal. How far the maker is ahead (the *lead*) is
measured once a second from timestamps, not from the receive buffer's fill: the fill moves in steps of a packet and is
moved on purpose by the buffer, whose business the network's delay is; the lead moves by drift alone. Each count is
compared with the system's clock, and of a window only the moment counts that was least late (packets wait in networks,
threads wake late, neither is ever early); so the system's own clock cancels out.

The loop is of second order, critically damped, at 0.004 Hz: 200 ppm move the delay by 6 ms at most, and
1 ms of noise in the lead becomes a wobble of less than 20 ppm, a hundredth of what an ear can tell. Until the lead has
moved by 2.5 ms nothing is corrected at all: two clocks that agree are left bit-exact.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from intercomd.media.pcm import RATE_HZ

MAX_PPM: Final = 1000.0
"""Crystals are within 100 ppm, the worst USB cards within 500; 1000 ppm are 1.7 cents of pitch."""
WINDOW_S: Final = 1.0
ENGAGE_FRAMES: Final = 120
ENGAGE_AFTER_S: Final = 20.0
"""In less time 2.5 ms may be anything; 5 ms are not."""
_SUSPECT_AFTER_S: Final = 3.0
_SETTLE_WINDOWS: Final = 3
"""A stream's first seconds: its buffer fills, its connection was busy coming up."""
_ANCHOR_WINDOWS: Final = 5
"""Averaged: what the anchor is wrong by, the delay is off by for the whole call."""
_LONGEST_ELAPSED_S: Final = 5.0
"""After a longer pause nobody knows since when the lead has been off."""
_SMOOTHING_S: Final = 4.0
_NATURAL_RAD_S: Final = 2 * math.pi * 0.004
_PROPORTIONAL_PPM: Final = 2 * _NATURAL_RAD_S / RATE_HZ * 1e6
"""Per frame of error."""
_INTEGRAL_PPM: Final = _NATURAL_RAD_S**2 / RATE_HZ * 1e6
"""Per frame of error and second."""
_STEP_FRAMES: Final = RATE_HZ * 3 // 1000
"""3 ms from one window to the next are no drift (1000 ppm make 1 ms): another path through the network, an xrun at
either end, a sound server that was held up. Such a step is the buffer's to deal with."""
_STEP_WINDOWS: Final = 2


@dataclass(frozen=True, slots=True)
class Lateness:
    """The least late of a window's moments of one count."""

    best_frames: float = -math.inf

    def at(self, frames: int, now_s: float) -> "Lateness":
        """The count stood at `frames` when it was `now_s`."""
        return Lateness(max(self.best_frames, frames - now_s * RATE_HZ))


@dataclass(frozen=True, slots=True)
class Drift:
    """`ppm` is by how much more is to be taken than the taker's own clock would; 0 until `engaged`."""

    ppm: float = 0.0
    engaged: bool = False
    error_frames: float = 0.0
    """How far the lead is off where it was found, smoothed."""
    steady_ppm: float = 0.0
    """The loop's integral: what it takes the drift to be."""
    anchor_frames: float | None = None
    last_frames: float = 0.0
    """The lead of the last window that was believed."""
    windows: int = 0
    since_s: float = 0.0
    """For how long the lead has been watched since the anchor was set."""
    astray: int = 0


def suspected(drift: Drift) -> bool:
    """A correction is in use, or will be in some seconds if the lead goes on as it does."""
    return drift.engaged or (drift.since_s >= _SUSPECT_AFTER_S and abs(drift.error_frames) >= ENGAGE_FRAMES / 2)


def observed(drift: Drift, lead_frames: float, elapsed_s: float) -> Drift:
    """After a window of `elapsed_s` (longer where windows had nothing to see), in which the lead was found."""
    drift = replace(drift, windows=drift.windows + 1)
    settled = drift.windows - _SETTLE_WINDOWS
    if drift.anchor_frames is None or settled <= 0:
        return replace(drift, anchor_frames=lead_frames, last_frames=lead_frames)
    steps = abs(lead_frames - drift.last_frames) > _STEP_FRAMES + MAX_PPM / 1e6 * elapsed_s * RATE_HZ
    if settled <= _ANCHOR_WINDOWS:
        return _anchored(drift, lead_frames, settled, steps=steps)
    if steps:
        return _stepped(drift, lead_frames)
    off = lead_frames - drift.anchor_frames - drift.error_frames
    share = 1 - math.exp(-elapsed_s / _SMOOTHING_S)
    moved = replace(
        drift,
        error_frames=drift.error_frames + share * off,
        last_frames=lead_frames,
        since_s=drift.since_s + elapsed_s,
        astray=0,
    )
    return _corrected(moved, min(elapsed_s, _LONGEST_ELAPSED_S)) if drift.engaged else _watched(moved)


def restarted(drift: Drift) -> Drift:
    """The same clocks, counted from elsewhere: the lead is found anew, what is known of the drift stays."""
    return Drift(drift.steady_ppm if drift.engaged else 0.0, drift.engaged, steady_ppm=drift.steady_ppm)


def _anchored(drift: Drift, lead_frames: float, settled: int, *, steps: bool) -> Drift:
    """The mean of some windows that agree."""
    if steps:
        return replace(drift, windows=_SETTLE_WINDOWS, anchor_frames=lead_frames, last_frames=lead_frames)
    assert drift.anchor_frames is not None
    anchor_frames = drift.anchor_frames + (lead_frames - drift.anchor_frames) / settled
    return replace(drift, anchor_frames=anchor_frames, last_frames=lead_frames)


def _stepped(drift: Drift, lead_frames: float) -> Drift:
    """Once may be chance; what stays is where the lead is from now on."""
    if drift.astray + 1 < _STEP_WINDOWS:
        return replace(drift, astray=drift.astray + 1)
    assert drift.anchor_frames is not None
    anchor_frames = drift.anchor_frames + lead_frames - drift.last_frames
    return replace(drift, anchor_frames=anchor_frames, last_frames=lead_frames, astray=0)


def _watched(drift: Drift) -> Drift:
    off = abs(drift.error_frames)
    if off < ENGAGE_FRAMES or (off < 2 * ENGAGE_FRAMES and drift.since_s < ENGAGE_AFTER_S):
        return drift
    slope_ppm = drift.error_frames / (drift.since_s * RATE_HZ) * 1e6
    return _set(replace(drift, engaged=True), slope_ppm)


def _corrected(drift: Drift, elapsed_s: float) -> Drift:
    return _set(drift, drift.steady_ppm + _INTEGRAL_PPM * drift.error_frames * elapsed_s)


def _set(drift: Drift, steady_ppm: float) -> Drift:
    """Bounded, both of them: an integral that ran on beyond the bound would take as long to come back."""
    steady_ppm = max(-MAX_PPM, min(MAX_PPM, steady_ppm))
    ppm = steady_ppm + _PROPORTIONAL_PPM * drift.error_frames
    return replace(drift, steady_ppm=steady_ppm, ppm=max(-MAX_PPM, min(MAX_PPM, ppm)))
