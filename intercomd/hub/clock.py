"""The hub's clock: Unix time that never jumps while a call is open, so that no lease ends early or late by a
clock that was set."""

import time
from collections.abc import Callable

DRIFT_S = 0.5
"""Re-anchored to the wall clock when it is off by more than this and nothing depends on it."""


class HubClock:
    """Wall time at the anchor plus monotonic time since then. A Pi has no battery for its clock: it starts
    years off, and NTP corrects it later."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()

    def now_s(self) -> float:
        return self._monotonic() + self._offset_s

    def adjust(self) -> None:
        """Follow the wall clock. Only while no call is open."""
        offset_s = self._wall() - self._monotonic()
        if abs(offset_s - self._offset_s) > DRIFT_S:
            self._offset_s = offset_s
