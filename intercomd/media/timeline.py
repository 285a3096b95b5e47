"""When and with which timestamp the near end's packets leave. Pure: time is passed in.

A peer's watchdog and every NAT on the way need packets also while the microphone is closed, so silence goes out then,
paced by a clock. The timestamps only ever grow; voice keeps the distances that capture gave it (frames dropped on the
way leave a hole that the far end conceals), and a pause keeps its real length.
"""

from intercomd.media.pcm import RATE_HZ

PATIENCE_FRAMES = 3
"""How many frames of voice may fail to come before silence goes out in their place."""
_MAX_LAG_FRAMES = 5
"""A clock that is further behind (a stalled event loop) skips instead of sending a burst."""


class Timeline:
    """Timestamps in frames of 48 kHz, for packets of `frames`."""

    def __init__(self, frames: int, now_s: float) -> None:
        self._frames = frames
        self._frame_s = frames / RATE_HZ
        self._next = 0
        self._offset: int | None = None
        self._last_s = now_s
        self.due_s = now_s
        """When silence is to leave, unless voice comes before."""

    def voice(self, at_frames: int, now_s: float) -> int:
        """The timestamp of a frame of voice that was captured at `at_frames` of the capture's own count."""
        if self._offset is None or at_frames + self._offset < self._next:
            self._offset = self._next - at_frames
        timestamp = at_frames + self._offset
        self._next = timestamp + self._frames
        self._last_s = now_s
        self.due_s = now_s + PATIENCE_FRAMES * self._frame_s
        return timestamp

    def silence(self, now_s: float) -> int:
        """The timestamp of a packet of silence that leaves now."""
        if self._offset is not None:
            self._offset = None
            self._skip(now_s - self._last_s - self._frame_s)
            self.due_s = now_s
        elif now_s - self.due_s > _MAX_LAG_FRAMES * self._frame_s:
            self._skip(now_s - self.due_s)
            self.due_s = now_s
        timestamp = self._next
        self._next += self._frames
        self.due_s += self._frame_s
        return timestamp

    def _skip(self, pause_s: float) -> None:
        self._next += max(0, round(pause_s / self._frame_s)) * self._frames
