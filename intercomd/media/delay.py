"""How late packets come, and which delay pays for itself. Pure; all times are frames of 48 kHz.

A packet's transit is its arrival on our clock less its timestamp on the sender's: only differences between transits
mean anything, so neither the clocks' offset nor their slow drift matters. Playing at an offset D from the timestamps,
each packet with a transit of at most D is in time. The target is the D that costs least, where every percent of
packets that come too late costs as much as 25 ms of delay: for a conversation below 177 ms concealment is by far the
worse of the two (ITU-T G.107, Id and Ie-eff). That is a high quantile of the last ten seconds for steady jitter,
covers spikes that recur, and ignores the one that does not. The first late packets weigh much, and stay for ten
seconds: up is fast, down is slow.
"""

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import RATE_HZ

_MS = RATE_HZ // 1000
_WINDOW_FRAMES = 10 * RATE_HZ
_RECENT_FRAMES = RATE_HZ
"""The fastest packet of the last second is the base: after a change of route it follows within that time."""
_ENOUGH = 25
"""When so many packets of the last second are all faster than all before, the way has become shorter, or the sender
counts from elsewhere: stations do when their microphone opens. What was before is then no longer true."""
_CLEARLY_FRAMES = 3 * _MS
_CAPACITY = 1024
"""Ten seconds of packets of 10 ms; of shorter ones the window is shorter."""
_PRICE_FRAMES = 100 * 25 * _MS
"""What it would cost if all packets came too late."""
_FEWEST = 500
"""What is known from fewer packets (10 s) is not taken for the rule: a single loss would count for many."""
_LOST_COUNTS = 3
"""A packet that comes late costs half its length of concealment, as a rule, and is heard afterwards."""
_FORBIDDING = 1000
_ANOTHER_TIMELINE_FRAMES = RATE_HZ
"""The sender began to count anew, or was away: what was learnt is no longer true."""

Frames = npt.NDArray[np.int64]


class Transits:
    """The transits of the last ten seconds."""

    def __init__(self, most_frames: int) -> None:
        """`most_frames`: the target stays within this of the fastest recent packet. Silence longer than it is an outage
        and no jitter: no delay that is worth having would have bridged it."""
        self._most = most_frames
        self.forget()

    def forget(self) -> None:
        """Another stream begins."""
        self._arrivals: Frames = np.zeros(_CAPACITY, np.int64)
        self._transits: Frames = np.zeros(_CAPACITY, np.int64)
        self._count = 0
        self._first = self._last_arrived = self._last_at = 0
        self._since = -_WINDOW_FRAMES
        self._outage = False
        self._sorted: Frames = self._transits[:0]
        self._price = 0.0
        self._target: int | None = None
        self._base = 0

    @property
    def target(self) -> int | None:
        """The offset from the timestamps at which to play, on the clock of arrivals; None before any packet."""
        return self._target

    @property
    def base(self) -> int:
        """The transit of the fastest packet of the last second."""
        return self._base

    @property
    def age_frames(self) -> int:
        """For how long it has been learning."""
        return self._last_arrived - self._first

    def see(self, at: int, arrived: int) -> None:
        """A packet whose timestamp, unwrapped, is `at`, also one that came too late to be heard."""
        transit = arrived - at
        if self._count and abs(transit - (self._last_arrived - self._last_at)) > _ANOTHER_TIMELINE_FRAMES:
            self.forget()
        if not self._count:
            self._first = arrived
        elif self._after_outage(at, arrived, transit):
            self._last_arrived, self._last_at = arrived, at
            return
        self._last_arrived, self._last_at = arrived, at
        self._add(transit, arrived)

    def could_rebuild(self, at: int, frames: int, arrived: int) -> None:
        """The packet `at` carries a copy of the lost one before it: heard, had playing waited that long."""
        if self._count and not self._outage:
            for _ in range(_LOST_COUNTS):
                self._add(arrived - at + frames, arrived)

    def _after_outage(self, at: int, arrived: int, transit: int) -> bool:
        """Whether this is of the heap that an outage leaves: it came faster than it was sent."""
        silent = arrived - self._last_arrived
        if silent > self._most and transit - self._base > self._most:
            self._outage = True
            return True
        self._outage = self._outage and 2 * silent < at - self._last_at
        return self._outage

    def _add(self, transit: int, arrived: int) -> None:
        slot = self._count % _CAPACITY
        self._arrivals[slot], self._transits[slot] = arrived, transit
        self._count += 1
        # Every eighth packet is soon enough, unless it was late.
        if self._count % 8 == 0 or self._count < 32 or self._target is None or transit > self._target:
            self._weigh(arrived)

    def _weigh(self, now: int) -> None:
        count = min(self._count, _CAPACITY)
        arrivals, transits = self._arrivals[:count], self._transits[:count]
        recent = transits[arrivals >= now - _RECENT_FRAMES]
        # What lies between may be of either kind: it leaves time to look.
        older = transits[(arrivals < now - 3 * _RECENT_FRAMES // 2) & (arrivals >= self._since)]
        self._base = int(recent.min())
        if len(recent) >= _ENOUGH and len(older) and int(recent.max()) + _CLEARLY_FRAMES < int(older.min()):
            self._since = now - _RECENT_FRAMES
        since = max(self._since, now - _WINDOW_FRAMES)
        self._sorted = np.sort(np.maximum(transits[arrivals >= since], self._base))
        self._price = _PRICE_FRAMES / max(_FEWEST, len(self._sorted))
        late = np.arange(len(self._sorted) - 1, -1, -1) * self._price
        best = int(self._sorted[int(np.argmin(self._sorted - self._base + late))])
        self._target = min(best, self._base + self._most)

    def costs(self, offsets: Frames) -> npt.NDArray[np.float64]:
        """What playing at each of `offsets` costs, in frames of delay. More than the most is never worth it, nor is
        less than the fastest packet needs."""
        delays = offsets - self._base
        beyond = np.maximum(0, delays - self._most) + np.maximum(0, -delays)
        late = len(self._sorted) - self._sorted.searchsorted(offsets, "right")
        costs: npt.NDArray[np.float64] = delays + beyond * _FORBIDDING + late * self._price
        return costs
