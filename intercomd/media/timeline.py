"""When and with which timestamp the near end's packets leave. Pure: time is passed in.

A peer's watchdog and every NAT on the way need packets also while the microphone is closed, so silence goes out then,
paced by a clock. The timestamps only ever grow, by what each packet really lasts; voice keeps the distances that
capture gave it (frames dropped on the way leave a hole that the far end conceals), and a pause keeps its real length.
"""

from intercomd.media.pcm import RATE_HZ

PATIENCE_S = 0.060
"""For how long voice may fail to come before silence goes out in its place."""
_MOST_LAG_S = 0.100
"""A clock that is further behind (a stalled event loop) skips instead of sending a burst."""


class Timeline:
    """Timestamps in frames of 48 kHz."""

    def __init__(self, now_s: float) -> None:
        self._next = 0
        self._offset: int | None = None
        self._last_s = now_s
        self.due_s = now_s
        """When silence is to leave, unless voice comes before."""

    def voice(self, at_frames: int, frames: int, now_s: float) -> int:
        """The timestamp of a packet of `frames` of voice that was captured at `at_frames` of the capture's count."""
        if self._offset is None or at_frames + self._offset < self._next:
            self._offset = self._next - at_frames
        timestamp = at_frames + self._offset
        self._next = timestamp + frames
        self._last_s = now_s
        self.due_s = now_s + PATIENCE_S
        return timestamp

    def silence(self, frames: int, now_s: float) -> int:
        """The timestamp of a packet of `frames` of silence that leaves now."""
        length_s = frames / RATE_HZ
        if self._offset is not None:
            self._offset = None
            self._skip(now_s - self._last_s - length_s, frames)
            self.due_s = now_s
        elif now_s - self.due_s > _MOST_LAG_S:
            self._skip(now_s - self.due_s, frames)
            self.due_s = now_s
        timestamp = self._next
        self._next += frames
        self.due_s += length_s
        return timestamp

    def _skip(self, pause_s: float, frames: int) -> None:
        self._next += max(0, round(pause_s * RATE_HZ / frames)) * frames
