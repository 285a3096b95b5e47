"""How full a playout PCM is, and so when its next period is due.

avail() is the card's own word and is believed until it is caught: when it promises room and the PCM takes nothing, or
when more audio goes in than time has passed (alsa-lib's pulse plugin learns of played audio only by the server's
requests; the null plugin plays everything at once). From then on the fill is reckoned by the clock. A reckoned fill
drifts with the card's crystal, some 50 ppm: that costs one refusal or one underrun in minutes, and both set it right.
"""

from dataclasses import dataclass, replace

from intercomd.media.pcm import PERIOD_FRAMES, PERIODS, QUEUED_PERIODS, RATE_HZ

_WINDOW_S = 2.0
"""Short enough that 1000 ppm of drift (2 ms) is not taken for a lie."""
_SLACK_FRAMES = 2 * PERIODS * PERIOD_FRAMES
"""A sound server may take this much at once into its own buffer without lying about ours."""


@dataclass(frozen=True, slots=True)
class Fill:
    """`reckoned_frames` were queued at `at_s`; `window_frames` were written since `window_s`."""

    buffer_frames: int
    at_s: float
    reckoned_frames: float = 0.0
    window_s: float = 0.0
    window_frames: int = 0
    told: bool = True


def empty(buffer_frames: int, now_s: float, *, told: bool = True) -> Fill:
    """Of a PCM that was just prepared."""
    return Fill(buffer_frames, now_s, window_s=now_s, told=told)


def reckoned(fill: Fill, now_s: float) -> float:
    """What is queued by the clock alone."""
    return max(0.0, fill.reckoned_frames - (now_s - fill.at_s) * RATE_HZ)


def queued_frames(fill: Fill, avail_frames: int, now_s: float) -> int:
    """Frames written and not yet played."""
    if fill.told:
        return min(fill.buffer_frames, max(0, fill.buffer_frames - avail_frames))
    return round(reckoned(fill, now_s))


def due_in_s(queued: int) -> float:
    """When `queued` frames will have fallen so far that one more period makes `QUEUED_PERIODS`; 0 if now."""
    return max(0, queued - (QUEUED_PERIODS - 1) * PERIOD_FRAMES) / RATE_HZ


def wrote(fill: Fill, queued_before: int, frames: int, now_s: float) -> Fill:
    """After the PCM took `frames` on top of what `queued_frames` told."""
    window_s, window_frames = fill.window_s, fill.window_frames + frames
    if now_s - window_s > _WINDOW_S:
        window_s, window_frames = now_s, frames
    ahead = window_frames - (now_s - window_s) * RATE_HZ
    told = fill.told and ahead <= fill.buffer_frames + _SLACK_FRAMES
    queued = float(min(fill.buffer_frames, queued_before + frames))
    return Fill(fill.buffer_frames, now_s, queued, window_s, window_frames, told)


def refused(fill: Fill, now_s: float) -> Fill:
    """After avail() promised room for a period and the PCM took nothing: it is full."""
    return replace(fill, at_s=now_s, reckoned_frames=float(fill.buffer_frames), told=False)


def dry_s(fill: Fill, now_s: float) -> float:
    """For how long nothing has been left to play, by the clock; 0 while there is."""
    return max(0.0, now_s - fill.at_s - fill.reckoned_frames / RATE_HZ)
