"""Rates: token buckets by key. Pure arithmetic on a monotonic clock that is passed in."""

from collections import OrderedDict
from dataclasses import dataclass

MAX_KEYS = 4096
"""The least recently used bucket is forgotten: one who can make more keys than this has them full anyway."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_s` each second."""

    per_s: float
    burst: float


EVENTS = Rate(20.0, 60.0)
"""Requests of one identity: trickled candidates come in bursts, a person never presses that fast."""
CONNECTS = Rate(5.0, 20.0)
"""Connections of one identity, and failed attempts of one address."""
OPENINGS = Rate(100.0, 1000.0)
"""WebSockets of one address, before anybody has said who it is: 0.5 ms of work each."""
DOORS = Rate(0.5, 6.0)
"""Doors that one identity asks for: an impatient thumb, not a program."""
WISHES = Rate(0.2, 6.0)
"""Wishes of one identity not to be disturbed: each is written, and every process reads the directory anew."""
PATIENCE = Rate(5.0, 100.0)
"""Refused requests of one connection: past these it is disconnected."""
FRAMES = Rate(100.0, 500.0)
"""Packets of one connection, of whatever kind (events have their own, tighter limit)."""


class Buckets:
    """One bucket per key."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now_s: float) -> bool:
        """Take a token if there is one."""
        level = self._level(key, now_s)
        taken = level >= 1.0
        self._levels[key] = (level - 1.0 if taken else level, now_s)
        self._levels.move_to_end(key)
        if len(self._levels) > MAX_KEYS:
            self._levels.popitem(last=False)
        return taken

    def is_empty(self, key: str, now_s: float) -> bool:
        """Whether the next `take` would fail."""
        return self._level(key, now_s) < 1.0

    def forget(self, key: str) -> None:
        self._levels.pop(key, None)

    def _level(self, key: str, now_s: float) -> float:
        level, at_s = self._levels.get(key, (self._rate.burst, now_s))
        return min(self._rate.burst, level + (now_s - at_s) * self._rate.per_s)
