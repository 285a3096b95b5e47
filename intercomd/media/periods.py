"""A ring of periods between two threads, bounded by duration: one side puts, the other pulls, neither waits."""

from collections import deque

import numpy as np

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm


class PeriodRing:
    """Begins to give when `target_ms` are in it, drops the oldest beyond `ceiling_ms`, begins anew after it ran dry.
    One thread puts, one pulls: the deque's own operations are atomic."""

    def __init__(self, target_ms: int = 40, ceiling_ms: int = 120) -> None:
        period_ms = PERIOD_FRAMES * 1000 // RATE_HZ
        self._target = max(1, target_ms // period_ms)
        self._ceiling = max(self._target, ceiling_ms // period_ms)
        self._periods: deque[Pcm] = deque(maxlen=self._ceiling)
        self._flowing = False
        self.overflowed = 0
        """Periods dropped at the ceiling."""

    def put(self, period: Pcm) -> None:
        """`period`, shape (480,), is kept as it is: the caller must not change it afterwards."""
        if len(self._periods) == self._ceiling:
            self.overflowed += 1
        self._periods.append(period)

    def pull(self) -> Pcm | None:
        """The next period, or None while there is nothing to be heard."""
        if not self._flowing and len(self._periods) < self._target:
            return None
        try:
            period = self._periods.popleft()
        except IndexError:
            self._flowing = False
            return None
        self._flowing = True
        return period

    def clear(self) -> None:
        """From the putting side: what waits is dropped, and the ring fills up to its target again."""
        self._periods.clear()
        self._flowing = False

    def __len__(self) -> int:
        return len(self._periods)


def split(pcm: Pcm, left_over: Pcm = SILENCE[:0]) -> tuple[list[Pcm], Pcm]:
    """Whole periods from `left_over` followed by `pcm`, and what is left over."""
    whole = np.concatenate((left_over, pcm)) if len(left_over) else pcm
    end = len(whole) // PERIOD_FRAMES * PERIOD_FRAMES
    return [whole[at : at + PERIOD_FRAMES] for at in range(0, end, PERIOD_FRAMES)], whole[end:]
