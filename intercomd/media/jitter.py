"""What a receive buffer decides, and what it counts: the words between it and the decoding thread. Pure."""

from dataclasses import dataclass
from typing import Protocol

from intercomd.media.packet import Packet
from intercomd.media.pcm import RATE_HZ

CONCEALED_FRAMES = RATE_HZ // 10
"""100 ms: longer concealment sounds worse than silence."""
QUANTUM_FRAMES = 120
"""2.5 ms: libopus conceals only multiples of it."""


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

    def slide(self, slides: bool) -> None:
        """Whether other than whole periods are asked for from now on: drifting clocks are corrected by resampling, and
        a packet's place within a period moves by itself."""
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
