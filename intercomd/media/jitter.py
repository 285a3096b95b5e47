"""The receive buffer: from packets in any order to one decision per frame. Pure; time is counted in frames played.

Theory of operation. Packets wait in the order of their RTP timestamps; `_next` is the timestamp that is to be heard
next. Playing begins when `target` is filled. When the buffer runs dry, `_next` stands still and concealment stands in:
if the packet was only late, it is played afterwards and the delay has grown by the stand-in; if a later packet shows
that it was lost, the stand-in is taken for it. After 100 ms the stream counts as paused and the buffer fills again.
Delay that is not needed (every fill of half a second above the target) is given back by leaving packets out; beyond
`ceiling` the oldest packets go at once, so that a stall never becomes lasting delay.
"""

from bisect import insort
from dataclasses import dataclass
from typing import Protocol

from intercomd.media.packet import Packet, carries_fec, duration_frames, is_dtx
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ

CONCEALED_FRAMES = RATE_HZ // 10
"""100 ms: longer concealment sounds worse than silence."""
_MS = RATE_HZ // 1000
QUANTUM_FRAMES = 120
"""2.5 ms: libopus conceals only multiples of it."""
_LONGEST_STEP_FRAMES = 960
_MAX_WAITING = 48
"""120 ms of the shortest packets (2.5 ms)."""
_WINDOW_FRAMES = RATE_HZ // 2
_MAX_LATE_IN_A_ROW = 25
"""Half a second of nothing but late packets: the sender has begun a new timeline."""


@dataclass(frozen=True, slots=True)
class Play:
    """Decode `payload`; it lasts `frames`. Where the sound allows it, leave out up to −`stretch` frames, or repeat up
    to `stretch`, and say so (`stretched`); `hurry`: even if it can be heard."""

    payload: bytes
    frames: int
    stretch: int = 0
    hurry: bool = False


@dataclass(frozen=True, slots=True)
class Recover:
    """Decode the lost `frames` from the error correction in the packet after them."""

    following: bytes
    frames: int


@dataclass(frozen=True, slots=True)
class Conceal:
    """Extrapolate `frames`."""

    frames: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is there, and has not been for a while."""

    frames: int


Decision = Play | Recover | Conceal | Silence


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the stream began. `unusable`: empty or no Opus packet; `overflowed`: dropped at the ceiling; `left_out`:
    dropped to come back to the target; `…_frames`: frames of 48 kHz by decision. `silent_frames` is silence because
    packets are missing for longer than concealment lasts; a sender's own pause (DTX) and the time before the first
    packet are `paused_frames`. `gaps`: how often voice began to be missing (concealed or silent).
    `shortened_frames` and `lengthened_frames`: left out of the voice and repeated in it."""

    received: int = 0
    unusable: int = 0
    late: int = 0
    duplicates: int = 0
    overflowed: int = 0
    left_out: int = 0
    restarts: int = 0
    played_frames: int = 0
    recovered_frames: int = 0
    concealed_frames: int = 0
    silent_frames: int = 0
    paused_frames: int = 0
    gaps: int = 0
    shortened_frames: int = 0
    lengthened_frames: int = 0


class ReceiveBuffer(Protocol):
    """What the decoding thread needs of a buffer. One thread only."""

    def put(self, packet: Packet) -> None:
        """Never raises, whatever the packet holds; memory stays bounded."""
        ...

    def decide(self, now_s: float, ahead_frames: int, /) -> Decision:
        """What is to be heard next, at most 120 ms of it. `now_s`: when the period was asked for that it begins in, on
        the clock of `Packet.arrived_s`; `ahead_frames`: how much of that period is filled already."""
        ...

    def stretched(self, frames: int) -> None:
        """What was last decided has become so much longer (shorter: below 0)."""
        ...

    def restart(self) -> None:
        """Another stream begins: forget everything, the counts too."""
        ...

    @property
    def counts(self) -> Counts: ...

    @property
    def delay_frames(self) -> float:
        """How long packets wait here, smoothed."""
        ...

    @property
    def target_frames(self) -> int:
        """The delay that is aimed at."""
        ...


class FixedBuffer:
    """A `ReceiveBuffer` with a fixed target depth."""

    def __init__(self, target_ms: int = 40, ceiling_ms: int = 120) -> None:
        self._target = target_ms * _MS
        self._ceiling = max(ceiling_ms * _MS, self._target)
        self.restart()

    def restart(self) -> None:
        self._tally = dict.fromkeys(Counts.__dataclass_fields__, 0)
        self._ssrc: int | None = None
        self._delay = 0.0
        self._missing = False
        self._forget()

    def _forget(self) -> None:
        self._order: list[int] = []
        self._waiting: dict[int, tuple[Packet, int]] = {}
        self._newest: int | None = None
        self._next: int | None = None
        self._last_sequence: int | None = None
        self._step = PERIOD_FRAMES
        self._paused = False
        self._filling = True
        self._waited = 0
        self._dry = 0
        self._stand_in = 0
        self._late_in_a_row = 0
        self._reset_window()

    @property
    def counts(self) -> Counts:
        return Counts(**self._tally)

    @property
    def delay_frames(self) -> float:
        return self._delay

    @property
    def target_frames(self) -> int:
        return self._target

    # ------------------------------------------------------------------------------------------------- arrival

    def put(self, packet: Packet) -> None:
        self._tally["received"] += 1
        frames = duration_frames(packet.payload)
        if not frames:
            self._tally["unusable"] += 1
            return
        if packet.ssrc != self._ssrc:
            self._begin(packet)
        at = self._unwrapped(packet.timestamp)
        if self._next is not None and at < self._next:
            self._count_late(packet, frames)
        elif at in self._waiting:
            self._tally["duplicates"] += 1
        else:
            self._late_in_a_row = 0
            self._insert(at, packet, frames)

    def _begin(self, packet: Packet) -> None:
        if self._ssrc is not None:
            self._tally["restarts"] += 1
        self._forget()
        self._ssrc = packet.ssrc

    def _unwrapped(self, timestamp: int) -> int:
        """The timestamp without its wrap at 2³²: the one nearest to the newest so far (RFC 3550 section 5.1)."""
        if self._newest is None:
            return timestamp
        delta = (timestamp - self._newest) & 0xFFFFFFFF
        return self._newest + (delta - 0x1_0000_0000 if delta >= 0x8000_0000 else delta)

    def _count_late(self, packet: Packet, frames: int) -> None:
        self._tally["late"] += 1
        self._late_in_a_row += 1
        if self._late_in_a_row >= _MAX_LATE_IN_A_ROW:
            self._begin(packet)
            self._insert(packet.timestamp, packet, frames)

    def _insert(self, at: int, packet: Packet, frames: int) -> None:
        insort(self._order, at)
        self._waiting[at] = (packet, frames)
        self._newest = at if self._newest is None else max(self._newest, at)
        self._keep_ceiling()

    def _keep_ceiling(self) -> None:
        """A hole goes first, but for what keeps the target filled; then the oldest packets."""
        if self._fill() > self._ceiling and not self._filling and self._next is not None:
            self._next = min(self._order[0], self._next + self._fill() - self._target)
        while len(self._order) > 1 and (self._fill() > self._ceiling or len(self._order) > _MAX_WAITING):
            self._tally["overflowed"] += 1
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        at = self._order.pop(0)
        packet, frames = self._waiting.pop(at)
        self._last_sequence = packet.sequence
        self._next = self._order[0] if self._order else at + frames

    def _fill(self) -> int:
        """Frames from what is heard next to the end of the newest packet; holes count as filled."""
        if not self._order:
            return 0
        newest = self._order[-1]
        start = self._order[0] if self._filling or self._next is None else self._next
        return newest + self._waiting[newest][1] - start

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
            self._leave_out()
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

    def _silence(self) -> Silence:
        pausing = self._paused or self._last_sequence is None
        self._tally["paused_frames" if pausing else "silent_frames"] += PERIOD_FRAMES
        self._note_gap(missing=not pausing)
        return Silence(PERIOD_FRAMES)

    def _note_gap(self, *, missing: bool) -> None:
        self._tally["gaps"] += missing and not self._missing
        self._missing = missing

    def _run_dry(self) -> Decision:
        if self._dry >= CONCEALED_FRAMES:
            self._filling, self._dry = True, 0
            return self._silence()
        self._dry += self._step
        self._stand_in += self._step
        return self._conceal(self._step, missing=not self._paused)

    def _conceal(self, frames: int, *, missing: bool) -> Conceal:
        self._tally["concealed_frames" if missing else "paused_frames"] += frames
        self._note_gap(missing=missing)
        return Conceal(frames)

    def _serve(self) -> Decision:
        at = self._order[0]
        packet, frames = self._waiting[at]
        gap = self._gap(at)
        if gap < QUANTUM_FRAMES:
            return self._play(at, packet, frames)
        missing = self._last_sequence is None or (packet.sequence - self._last_sequence) & 0xFFFF > 1
        recoverable = missing and gap >= frames and carries_fec(packet.payload)
        if recoverable and gap - frames < QUANTUM_FRAMES:
            self._next = at
            self._tally["recovered_frames"] += frames
            self._missing = False
            return Recover(packet.payload, frames)
        length = min(self._step, gap - frames if recoverable else gap) // QUANTUM_FRAMES * QUANTUM_FRAMES
        self._next = at - gap + length
        return self._conceal(length, missing=missing)

    def _gap(self, at: int) -> int:
        """Frames missing before the oldest packet, less what concealment has already stood in for; but not so much less
        that the buffer stays below its target: it would then have no next packet to rebuild a lost one from."""
        assert self._next is not None
        used = max(0, min(at - self._next, self._stand_in, self._fill() - self._target))
        self._stand_in = 0
        self._next += used
        return at - self._next

    def _play(self, at: int, packet: Packet, frames: int) -> Play:
        self._order.pop(0)
        del self._waiting[at]
        self._next = at + frames
        self._last_sequence = packet.sequence
        self._step = max(QUANTUM_FRAMES, min(frames, _LONGEST_STEP_FRAMES))
        self._paused = is_dtx(packet.payload)
        self._tally["played_frames"] += frames
        self._missing = False
        return Play(packet.payload, frames)

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
            self._leave_out()
        self._reset_window()

    def _leave_out(self) -> None:
        self._tally["left_out"] += 1
        self._drop_oldest()
