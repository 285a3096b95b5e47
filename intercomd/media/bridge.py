"""Sound from one clock to another: what is taken in periods by the taker's clock follows the maker's."""

import math
from collections.abc import Callable
from typing import Final

from intercomd.media import drift
from intercomd.media.drift import Drift, Lateness
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm
from intercomd.media.resample import Resampler

_JUMP_FRAMES: Final = 48_000 * 10
"""A maker's count that moves so far at once is another count."""


class ClockBridge:
    """For the taker's thread alone: the maker's counts are reported here with the times at which they were true.

    While the clocks agree a period is handed on as it is; once they do not, it is resampled, which takes 16 frames
    (0.33 ms) more from the source, once."""

    def __init__(self) -> None:
        self.drift = Drift()
        self._resampler: Resampler | None = None
        self._last: Pcm = SILENCE
        self._taken = 0
        self._begin()

    def _begin(self) -> None:
        self._window_s: float | None = None
        self._seen_s: float | None = None
        self._made, self._took = Lateness(), Lateness()
        self._newest: int | None = None

    @property
    def ppm(self) -> float:
        """The correction in use; 0.0 while sound is handed on as it is."""
        return self.drift.ppm

    @property
    def slides(self) -> bool:
        """What is taken is not whole periods of the maker's any more, or soon will not be."""
        return drift.suspected(self.drift)

    def restart(self) -> None:
        """Another maker: nothing is known of its clock."""
        self.drift, self._resampler, self._last = Drift(), None, SILENCE
        self._begin()

    def made(self, end_frames: int, at_s: float) -> None:
        """The maker's count stood at `end_frames` (32 bits of it; it may wrap) when it was `at_s`."""
        newest = self._newest
        if newest is None:
            self._newest = end_frames
        else:
            step = (end_frames - newest + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
            if abs(step) > _JUMP_FRAMES:
                self.drift = drift.restarted(self.drift)
                self._begin()
                step, newest = 0, end_frames
            self._newest = newest + step
        assert self._newest is not None
        self._made = self._made.at(self._newest, at_s)

    def period(self, take: Callable[[int], Pcm], now_s: float) -> Pcm:
        """The next period, shape (480,), as it is due at `now_s`. `take(frames)` gives exactly so many of the maker's,
        and what it gives is not changed."""
        self._look(now_s)
        if not self.drift.engaged:
            self._taken += PERIOD_FRAMES
            self._last = take(PERIOD_FRAMES)
            return self._last
        if self._resampler is None:
            self._resampler = Resampler(before=self._last)
        resampler = self._resampler
        resampler.step = 1 + self.drift.ppm / 1e6
        missing = resampler.missing(PERIOD_FRAMES)
        self._taken += missing
        resampler.put(take(missing))
        return resampler.take(PERIOD_FRAMES)

    def _look(self, now_s: float) -> None:
        if self._window_s is None:
            self._window_s = self._seen_s = now_s
        self._took = self._took.at(self._taken, now_s)
        if now_s - self._window_s < drift.WINDOW_S:
            return
        if self._made.best_frames > -math.inf and self._seen_s is not None:
            lead = self._made.best_frames - self._took.best_frames
            self.drift = drift.observed(self.drift, lead, now_s - self._seen_s)
            self._seen_s = now_s
        self._window_s = now_s
        self._made, self._took = Lateness(), Lateness()
