"""The conditions that every contender's call goes through, and what was heard in them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.audio.hearing import Heard
from tests.bench.audio.impaired import CLEAN, Condition


@dataclass(frozen=True, slots=True)
class Phase:
    """Of a call: what is on the wire for `lasts_s`; delays are taken from `from_s` on."""

    name: str
    lasts_s: float
    condition: Condition
    from_s: float = 0.0
    lost: range = range(1)
    """How many of the voice's packets may be lost: none at all would be no trial."""


ZERO: Final = Phase("0 loss", 10.0, CLEAN)
ONE: Final = Phase("after one lost packet", 8.0, Condition("one", drop_next=1), 0.5, range(1, 2))
LOSSY: Final = Phase("1 % loss, last 10 s of 60", 60.0, Condition("1 %", loss=0.01), 50.0, range(5, 150))
AFTER: Final = Phase("after 60 s at 1 % loss", 8.0, CLEAN)
BAD: Final = Phase("10 % loss, 50 ms jitter", 16.0, Condition("10 %", loss=0.1, jitter_s=0.05), 2.0, range(30, 400))
PHASES: Final = (ZERO, ONE, LOSSY, AFTER, BAD)


@dataclass(frozen=True, slots=True)
class Window:
    """`from_s` to `to_s` (CLOCK_MONOTONIC): the phase; delays count from `since_s`."""

    phase: str
    from_s: float
    since_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """One call: what was heard, in the windows of its conditions."""

    windows: Sequence[Window]
    heard: Sequence[Heard]
    silent: Mapping[str, tuple[float, ...]]
    """When periods of digital silence were heard, by phase."""
    mouth_silent: tuple[float, ...]
    """When the injector itself had some."""
    lost: Mapping[str, tuple[int, int]]
    """Lost and seen of the voice's packets, by phase."""
    estimates: Sequence[tuple[float, float]] = ()
    """The station's own, in seconds: when, mouth to ear."""


@dataclass(slots=True)
class Taken:
    """By contender; `missing` says why one is not there."""

    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, str] = field(default_factory=dict)
    copy_alone: list[list[Heard]] = field(default_factory=list)
    copy_beside: list[list[Heard]] = field(default_factory=list)
    """By start of the copy loop."""
    probe_s: list[float] = field(default_factory=list)
