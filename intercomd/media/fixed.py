"""The receive buffer with a fixed depth. Pure; time is counted in frames played.

Theory of operation. Playing begins when `target` is filled. When the buffer runs dry, `_next` stands still and
concealment stands in: if the packet was only late, it is played afterwards and the delay has grown by the stand-in; if
a later packet shows that it was lost, the stand-in is taken for it. After 100 ms the stream counts as paused and the
buffer fills again. Delay that is not needed (every fill of half a second above the target) is given back by leaving
packets out; beyond `ceiling` the oldest packets go at once, so that a stall never becomes lasting delay.
"""

from intercomd.media.jitter import CONCEALED_FRAMES, QUANTUM_FRAMES, Decision, Play
from intercomd.media.packet import Packet
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ
from intercomd.media.sequence import Sequence, Waiting

_MS = RATE_HZ // 1000
_MAX_WAITING = 48
"""120 ms of the shortest packets (2.5 ms)."""
_WINDOW_FRAMES = RATE_HZ // 2
_MAX_LATE_IN_A_ROW = 25
"""Half a second of nothing but late packets: the sender has begun a new timeline."""


class FixedBuffer(Sequence):
    """A `ReceiveBuffer` with a fixed target depth."""

    def __init__(self, target_ms: int = 40, ceiling_ms: int = 120) -> None:
        self._target = target_ms * _MS
        self._ceiling = max(ceiling_ms * _MS, self._target)
        self.restart()

    def _forget(self) -> None:
        super()._forget()
        self._waited = 0
        self._reset_window()

    @property
    def target_frames(self) -> int:
        return self._target

    def slide(self, slides: bool) -> None:
        """It is deep enough for that."""

    # ------------------------------------------------------------------------------------------------- arrival

    def put(self, packet: Packet) -> None:
        frames = self._count(packet)
        if not frames:
            return
        at = self._unwrapped(packet.timestamp)
        if self._next is not None and at < self._next:
            self._count_late(packet, frames)
        elif at in self._waiting:
            self._tally["duplicates"] += 1
        else:
            self._add(at, packet, frames)

    def _count_late(self, packet: Packet, frames: int) -> None:
        self._tally["late"] += 1
        self._late_in_a_row += 1
        if self._late_in_a_row >= _MAX_LATE_IN_A_ROW:
            self._begin(packet)
            self._add(packet.timestamp, packet, frames)

    def _add(self, at: int, packet: Packet, frames: int) -> None:
        self._insert(at, Waiting(packet, frames))
        self._keep_ceiling()

    def _keep_ceiling(self) -> None:
        """A hole goes first, but for what keeps the target filled; then the oldest packets."""
        if self._fill() > self._ceiling and not self._filling and self._next is not None:
            self._next = min(self._order[0], self._next + self._fill() - self._target)
        while len(self._order) > 1 and (self._fill() > self._ceiling or len(self._order) > _MAX_WAITING):
            self._drop_oldest("overflowed")

    # ------------------------------------------------------------------------------------------------ decisions

    def decide(self, _now_s: float = 0.0, _ahead_frames: int = 0, /) -> Decision:
        if self._filling and not self._filled():
            return self._silence()
        if self._filling:
            self._begin_playing()
        self._shed_excess()
        if not self._order:
            return self._run_dry()
        self._dry = 0
        return self._serve()

    def _begin_playing(self) -> None:
        """With the newest packets, as many as the target: what piled up in a stall is not worth its delay."""
        while len(self._order) > 1 and self._fill() - (self._order[1] - self._order[0]) >= self._target:
            self._drop_oldest("left_out")
        self._filling, self._stand_in, self._next = False, 0, self._order[0]
        self._reset_window()

    def _filled(self) -> bool:
        """A packet that waits as long as the target is played even if no other follows it."""
        if not self._order:
            self._waited = 0
            return False
        if self._fill() >= self._target or self._waited >= self._target:
            self._waited = 0
            return True
        self._waited += PERIOD_FRAMES
        return False

    def _run_dry(self) -> Decision:
        if self._dry >= CONCEALED_FRAMES:
            self._filling, self._dry = True, 0
            return self._silence()
        self._dry += self._step
        self._stand_in += self._step
        return self._conceal(self._step, missing=not self._paused)

    def _serve(self) -> Decision:
        at = self._order[0]
        gap = self._gap(at)
        if gap >= QUANTUM_FRAMES:
            return self._bridge(at, gap)
        heard = self._hear(at)
        return Play(heard.packet.payload, heard.frames)

    def _gap(self, at: int) -> int:
        """Frames missing before the oldest packet, less what concealment has already stood in for; but not so much less
        that the buffer stays below its target: it would then have no next packet to rebuild a lost one from."""
        assert self._next is not None
        used = max(0, min(at - self._next, self._stand_in, self._fill() - self._target))
        self._stand_in = 0
        self._next += used
        return at - self._next

    # -------------------------------------------------------------------------------------------------- excess

    def stretched(self, frames: int) -> None:
        """Never asked for here: this buffer leaves whole packets out."""

    def _reset_window(self) -> None:
        self._least: int | None = None
        self._watched = 0

    def _shed_excess(self) -> None:
        """Leave one packet out when the buffer was never down to its target for a whole window."""
        fill = self._fill()
        self._delay += (fill - self._delay) / 16
        self._least = fill if self._least is None else min(self._least, fill)
        self._watched += self._step
        if self._watched < _WINDOW_FRAMES:
            return
        if self._least >= self._target + self._step and len(self._order) > 1:
            self._drop_oldest("left_out")
        self._reset_window()
