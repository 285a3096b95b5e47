"""The station's time: the hub's where it is known, and never one that jumps.

A Pi has no clock that goes on without power: it starts years off, and a time server sets it later, perhaps in the
middle of a call. So the wall clock is read once; from then on the monotonic clock counts. A wall clock that is before
what is known to have been already (this version; what the last process wrote down) is not believed. The hub says its
time with each resync and each heartbeat, and is believed: who rang whom, and when, is one story for the whole house.
"""

import time
from collections.abc import Callable

from intercomd import RELEASED_S
from intercomd.link.trust import Known

DRIFT_S = 2.0
"""Closer than this, the hub's word is only late."""


class StationClock:
    """Unix seconds that only its methods move."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._floor_s = RELEASED_S
        self._offset_s = max(wall(), self._floor_s) - monotonic()
        self._by_hub = False

    def now_s(self) -> float:
        return self._monotonic() + self._offset_s

    def not_before(self, kept_at_s: float) -> None:
        """At the start: what the last process wrote down has been."""
        self._floor_s = max(self._floor_s, kept_at_s)
        self.rest()

    def known(self) -> Known:
        """For the certificate of the hub: its own word of a while ago, or what has been. What was written down here is
        not asked: should a hub once have told a wrong time, the station must not be kept from it for ever."""
        return Known(self.now_s(), exact=True) if self._by_hub else Known(RELEASED_S)

    def heard(self, hub_s: float) -> float:
        """The hub's time of this moment, in a form that may be used later: by how much it is before the monotonic
        clock."""
        return hub_s - self._monotonic()

    def follow(self, offset_s: float) -> float | None:
        """Go by the hub's time, as `heard` gave it. By how many seconds that moves this clock; None if it does not:
        the two agree, or the hub's own clock was never set."""
        shift_s = offset_s - self._offset_s
        if offset_s + self._monotonic() < RELEASED_S:
            return None
        self._by_hub = True
        if abs(shift_s) <= DRIFT_S:
            return None
        self._offset_s = offset_s
        return shift_s

    def rest(self) -> None:
        """While there is no call: follow the wall clock, as long as no hub has told the time."""
        if self._by_hub:
            return
        wall_s, monotonic_s = self._wall(), self._monotonic()
        if wall_s >= self._floor_s:
            self._offset_s = wall_s - monotonic_s
        else:  # it goes on from what is known
            self._offset_s = max(self._offset_s, self._floor_s - monotonic_s)
