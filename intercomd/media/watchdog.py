"""The media watchdog: whether anything still comes from the peer. Pure; fed with the time and a count of packets.

aiortc says nothing for 30 s when a path dies (no `disconnected` state). Packets of every kind count, RTCP too: a muted
or silent (DTX) peer is not lost. A peer that was sparse before the gap gets longer limits: DTX sends one packet in
400 ms, so that two lost ones in a row would look like a second of silence. Its checks of consent (RFC 7675, every 4 to
6 s) count too: it has nothing to say, and is there. A dense peer's do not: its path lives, and its voice has stopped.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

_HISTORY_S = 2.0
_SPARSE_PER_S = 5.0


class Pulse(StrEnum):
    """What the watchdog says of a connection."""

    WAITING = "waiting"
    """No packet has come yet: the connect limit is for this."""
    UP = "up"
    SILENT = "silent"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds without any packet. `sparse_…`: for a peer that sent fewer than 5 packets/s before the gap."""

    silent_s: float = 1.0
    lost_s: float = 3.0
    sparse_silent_s: float = 6.0
    sparse_lost_s: float = 8.0


class Watchdog:
    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._seen = 0
        self._heard_s = 0.0
        self._checks = 0
        self._checked_s = float("-inf")
        self._history: deque[tuple[float, int]] = deque()
        self.pulse = Pulse.WAITING

    @property
    def lost_after_s(self) -> float:
        """The second limit as it is at present."""
        return self._present_limits()[1]

    def feed(self, now_s: float, packets: int, checks: int = 0) -> Pulse | None:
        """`packets` and `checks` are the counts of all packets and of all checks of consent so far (they never fall);
        call this every 0.1 s or so. Returns the new pulse when it changed, else None. A long gap between two calls says
        `silent` before it says `lost`."""
        if checks > self._checks:
            self._checks, self._checked_s = checks, now_s
        if packets > self._seen:
            self._hear(now_s, packets)
            return self._become(Pulse.UP)
        if self.pulse is Pulse.WAITING:
            return None
        silent_s, lost_s = self._present_limits()
        gap_s = now_s - (max(self._heard_s, self._checked_s) if self._is_sparse() else self._heard_s)
        if self.pulse is not Pulse.UP and gap_s == 0.0:
            return self._become(Pulse.UP)
        if self.pulse is Pulse.LOST:
            return None
        if self.pulse is Pulse.UP:
            return self._become(Pulse.SILENT) if gap_s >= silent_s else None
        return self._become(Pulse.LOST) if gap_s >= lost_s else None

    def _become(self, pulse: Pulse) -> Pulse | None:
        changed, self.pulse = pulse is not self.pulse, pulse
        return pulse if changed else None

    def _hear(self, now_s: float, packets: int) -> None:
        self._seen, self._heard_s = packets, now_s
        self._history.append((now_s, packets))
        while len(self._history) > 2 and now_s - self._history[1][0] >= _HISTORY_S:
            self._history.popleft()

    def _present_limits(self) -> tuple[float, float]:
        limits = self._limits
        if self._is_sparse():
            return max(limits.silent_s, limits.sparse_silent_s), max(limits.lost_s, limits.sparse_lost_s)
        return limits.silent_s, limits.lost_s

    def _is_sparse(self) -> bool:
        if not self._history:
            return False
        (first_s, first), (last_s, last) = self._history[0], self._history[-1]
        span_s = last_s - first_s
        return span_s >= _HISTORY_S and (last - first) / span_s < _SPARSE_PER_S
