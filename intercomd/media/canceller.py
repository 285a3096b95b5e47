"""The port of an echo canceller: a library that takes 10 ms of microphone and of reference and gives 10 ms back."""

from dataclasses import dataclass
from typing import Protocol

from intercomd.media.pcm import Pcm


class CancellerError(Exception):
    """There is no canceller; the text says why and what to install."""


class Canceller(Protocol):
    """For one thread at a time."""

    @property
    def late_frames(self) -> int:
        """By how much a near end comes later than it was captured."""
        ...

    def process(self, captured: Pcm, reference: Pcm) -> Pcm:
        """One period of the near end, shape (480,) int16, without the echo of what `reference` (the same shape) and its
        predecessors became in the room; later than `captured` by what the engine takes, 20 ms at most. The reference is
        ahead of its echo by up to 200 ms. Raises ValueError for any other shape or type, and `CancellerError` when the
        engine fails: it is then of no more use."""
        ...

    def expect_delay(self, delay_ms: int) -> None:
        """How far the echo is behind the reference, 0 to 500."""
        ...

    def close(self) -> None:
        """Idempotent. A `process` after it raises `CancellerError`."""
        ...


class LoadCanceller(Protocol):
    """Makes a canceller with some of its parts."""

    def __call__(self, *, echo: bool, noise: bool, gain: bool) -> Canceller:
        """May take a second: for a thread of its own. Raises `CancellerError`."""
        ...


@dataclass(frozen=True, slots=True)
class VoiceStatus:
    """What is in force: of `highpass`, `echo`, `noise`, `gain`, `half-duplex`. `erle_db` is None until an echo was
    heard; `echo_delay_ms` is from the card's taking a period to its echo's capture; `period_cpu_s` is per 10 ms."""

    parts: tuple[str, ...] = ()
    erle_db: float | None = None
    echo_delay_ms: float | None = None
    half_duplex: bool = False
    period_cpu_s: float = 0.0
