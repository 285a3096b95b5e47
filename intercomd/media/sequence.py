"""What every receive buffer does alike: packets in order, what is missing before one of them, what is counted. Pure.

Packets wait in the order of their RTP timestamps, without the wrap; `_next` is the timestamp that is to be heard next.
A buffer says when it plays, how long a gap is, and what it does when nothing is there.
"""

from bisect import insort
from typing import NamedTuple

from intercomd.media.jitter import QUANTUM_FRAMES, Conceal, Counts, Recover, Silence
from intercomd.media.packet import Packet, carries_fec, duration_frames, is_dtx
from intercomd.media.pcm import PERIOD_FRAMES

_LONGEST_STEP_FRAMES = 960


class Waiting(NamedTuple):
    """A packet, how long it lasts and when it arrived, in frames of 48 kHz."""

    packet: Packet
    frames: int
    arrived: int = 0


class Sequence:
    """The common part of a `ReceiveBuffer`."""

    def restart(self) -> None:
        self._tally = dict.fromkeys(Counts.__dataclass_fields__, 0)
        self._ssrc: int | None = None
        self._delay = 0.0
        self._missing = False
        self._forget()

    def _forget(self) -> None:
        self._order: list[int] = []
        self._waiting: dict[int, Waiting] = {}
        self._newest: int | None = None
        self._next: int | None = None
        self._last_sequence: int | None = None
        self._step = PERIOD_FRAMES
        self._paused = False
        self._filling = True
        self._dry = 0
        self._stand_in = 0
        self._late_in_a_row = 0

    @property
    def counts(self) -> Counts:
        return Counts(**self._tally)

    @property
    def delay_frames(self) -> float:
        return self._delay

    # ------------------------------------------------------------------------------------------------- arrival

    def _count(self, packet: Packet) -> int:
        """How long it lasts; 0 for what cannot be played. Another sender begins another stream."""
        self._tally["received"] += 1
        frames = duration_frames(packet.payload)
        if not frames:
            self._tally["unusable"] += 1
        elif packet.ssrc != self._ssrc:
            self._begin(packet)
        return frames

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

    def _insert(self, at: int, waiting: Waiting) -> None:
        self._late_in_a_row = 0
        insort(self._order, at)
        self._waiting[at] = waiting
        self._newest = at if self._newest is None else max(self._newest, at)

    def _drop_oldest(self, reason: str) -> None:
        self._tally[reason] += 1
        at = self._order.pop(0)
        gone = self._waiting.pop(at)
        self._last_sequence = gone.packet.sequence
        self._next = self._order[0] if self._order else at + gone.frames

    def _fill(self) -> int:
        """Frames from what is heard next to the end of the newest packet; holes count as filled."""
        if not self._order:
            return 0
        newest = self._order[-1]
        start = self._order[0] if self._filling or self._next is None else self._next
        return newest + self._waiting[newest].frames - start

    # ----------------------------------------------------------------------------------------------- decisions

    def _silence(self) -> Silence:
        pausing = self._paused or self._last_sequence is None
        self._tally["paused_frames" if pausing else "silent_frames"] += PERIOD_FRAMES
        self._note_gap(missing=not pausing)
        return Silence(PERIOD_FRAMES)

    def _conceal(self, frames: int, *, missing: bool) -> Conceal:
        self._tally["concealed_frames" if missing else "paused_frames"] += frames
        self._note_gap(missing=missing)
        return Conceal(frames)

    def _note_gap(self, *, missing: bool) -> None:
        self._tally["gaps"] += missing and not self._missing
        self._missing = missing

    def _bridge(self, at: int, gap: int) -> Conceal | Recover:
        """What is heard in the `gap` before the packet `at`: concealment, at its end the packet's copy of a lost one.
        Only a copy that fits is one of what is missing: a packet's copy is as long as the packet itself."""
        packet, frames, _ = self._waiting[at]
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

    def _hear(self, at: int) -> Waiting:
        """The oldest packet is played."""
        self._order.pop(0)
        heard = self._waiting.pop(at)
        self._next = at + heard.frames
        self._last_sequence = heard.packet.sequence
        self._step = max(QUANTUM_FRAMES, min(heard.frames, _LONGEST_STEP_FRAMES))
        self._paused = is_dtx(heard.packet.payload)
        self._tally["played_frames"] += heard.frames
        self._missing = False
        return heard
