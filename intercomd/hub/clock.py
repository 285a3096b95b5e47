"""The hub's clock: Unix time that never jumps while a call is open, so that no lease ends early or late by a
clock that was set."""

import time
from collections.abc import Callable

from intercomd import RELEASED_S

DRIFT_S = 0.5
"""Re-anchored to the wall clock when it is off by more than this and nothing depends on it."""


class HubClock:
    """Wall time at the anchor plus monotonic time since then. A Pi has no battery for its clock: it starts
    years off, and NTP corrects it later."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._kept_s = RELEASED_S
        self._offset_s = max(wall(), RELEASED_S) - monotonic()

    def now_s(self) -> float:
        return self._monotonic() + self._offset_s

    def adjust(self) -> None:
        """Follow the wall clock, unless it was never set. Only while no call is open."""
        wall_s, monotonic_s = self._wall(), self._monotonic()
        if wall_s < RELEASED_S:
            self._offset_s = max(self._offset_s, self._kept_s - monotonic_s)
        elif abs(wall_s - monotonic_s - self._offset_s) > DRIFT_S:
            self._offset_s = wall_s - monotonic_s

    def not_before(self, kept_s: float) -> None:
        """At the start: the newest time that is written down. It counts only while the wall clock was never set; else a
        clock that was once a year ahead would stay so for a year."""
        self._kept_s = max(self._kept_s, kept_s)
        self.adjust()

    def follow(self, now_s: float) -> None:
        """Be as late as that: the clock of the database that several processes share."""
        self._offset_s = now_s - self._monotonic()
