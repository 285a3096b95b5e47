"""A sound card without sound: `ports.SoundCard` paced by any clock, with knobs for what goes wrong.

Faithful to alsa-lib behind `adapters/alsa/`: playout keeps two periods queued and plays silence when it runs dry,
capture holds four periods and then loses what it has, both fail at once when the card goes and after 500 ms when it
does not move.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Collection
from typing import TypeVar

import numpy as np

from intercomd.core.events import Card
from intercomd.media.clock import Clock, SystemClock
from intercomd.media.pcm import PERIOD_FRAMES, PERIODS, QUEUED_PERIODS, RATE_HZ, SILENCE, Pcm
from intercomd.ports import CaptureStream, CardError, PlayoutStream

_PERIOD_S = PERIOD_FRAMES / RATE_HZ
_QUEUED_S = (QUEUED_PERIODS - 1) * _PERIOD_S
_BUFFER_S = PERIODS * _PERIOD_S
_LIMIT_S = 0.5
_REMEMBERED_PERIODS = 6000
"""A minute: what `heard` gives at most."""
_ROUNDING_S = 1e-9
_REASONS = {
    Card.MISSING: "No such device",
    Card.BUSY: "Device or resource busy; held by another (pid 1): end it",
    Card.DENIED: "Permission denied; the user needs the group `audio`",
}

AnyStream = TypeVar("AnyStream", bound="FakePlayout | FakeCapture")


class FakeCard:
    """`pcms` limits the names that exist; None: any. All knobs may be turned from any thread."""

    def __init__(self, clock: Clock | None = None, pcms: Collection[str] | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.opened: dict[str, int] = defaultdict(int)
        """How often each PCM was opened."""
        self.opening_s = 0.0
        """How long each attempt to open takes."""
        self._pcms = pcms
        self._lock = threading.Lock()
        self._refused: dict[str | None, Card] = {}
        self._streams: set[FakePlayout | FakeCapture] = set()
        self._heard: dict[str, deque[Pcm]] = defaultdict(lambda: deque(maxlen=_REMEMBERED_PERIODS))
        self._said: dict[str, deque[Pcm]] = defaultdict(deque)

    # ---- the port

    def open_playout(self, pcm: str) -> PlayoutStream:
        self._admit(pcm, "playback")
        return self._opened(FakePlayout(self, pcm, self._heard[pcm]))

    def open_capture(self, pcm: str) -> CaptureStream:
        self._admit(pcm, "capture")
        return self._opened(FakeCapture(self, pcm, self._said[pcm]))

    # ---- knobs

    def refuse(self, how: Card, pcm: str | None = None) -> None:
        """From now on opening `pcm` (None: any) fails so. Open streams go on."""
        self._refused[pcm] = how

    def accept(self) -> None:
        """Everything opens again."""
        self._refused.clear()

    def vanish(self) -> None:
        """The plug is pulled."""
        self.refuse(Card.MISSING)
        for stream in self.streams():
            stream.gone.set()

    def come_back(self) -> None:
        """The plug is in again."""
        self.accept()

    def freeze(self) -> None:
        """What is open stops moving and does not say why."""
        for stream in self.streams():
            stream.frozen = True

    def overrun(self, frames: int) -> None:
        """Open capture streams lose so many frames before their next read."""
        for stream in self.streams():
            if isinstance(stream, FakeCapture):
                stream.forced = frames

    def underrun(self, frames: int) -> None:
        """Open playout streams run dry for so many frames before their next write."""
        for stream in self.streams():
            if isinstance(stream, FakePlayout):
                stream.forced = frames

    def say(self, pcm: str, sound: Pcm) -> None:
        """Captured from now on, once; silence after it."""
        whole = np.zeros(-(-len(sound) // PERIOD_FRAMES) * PERIOD_FRAMES, np.int16)
        whole[: len(sound)] = sound
        self._said[pcm].extend(whole.reshape(-1, PERIOD_FRAMES))

    def heard(self, pcm: str) -> Pcm:
        """What was played in the last minute, with the silence of underruns."""
        periods = list(self._heard[pcm])
        return np.concatenate(periods) if periods else np.zeros(0, np.int16)

    def streams(self) -> "list[FakePlayout | FakeCapture]":
        """What is open."""
        with self._lock:
            return list(self._streams)

    # ---- for the streams

    def forget(self, stream: "FakePlayout | FakeCapture") -> None:
        with self._lock:
            self._streams.discard(stream)

    def _opened(self, stream: AnyStream) -> AnyStream:
        self.opened[stream.pcm] += 1
        with self._lock:
            self._streams.add(stream)
        return stream

    def _admit(self, pcm: str, direction: str) -> None:
        if self.opening_s:
            self.clock.wakeup().wait(self.opening_s)
        how = self._refused.get(pcm) or self._refused.get(None)
        if self._pcms is not None and pcm not in self._pcms:
            how = Card.MISSING
        if how is not None:
            raise CardError(how, f"{pcm}: {direction} does not open: {_REASONS[how]}")


class _Stream:
    def __init__(self, card: FakeCard, pcm: str) -> None:
        self.card, self.pcm, self.frozen = card, pcm, False
        self.clock = card.clock
        self.gone = card.clock.wakeup()
        self.forced = 0
        """Frames of an xrun that was ordered."""
        self._closed = False

    def _pass(self, until_s: float) -> None:
        """Wait for the card's clock."""
        if self._closed:
            raise CardError(Card.MISSING, f"{self.pcm}: the PCM is closed")
        self._sleep(until_s - self.clock.now_s())
        if self.frozen:
            self._sleep(_LIMIT_S)
            raise CardError(Card.MISSING, f"{self.pcm}: has not moved for {_LIMIT_S} s")

    def _sleep(self, wait_s: float) -> None:
        if self.gone.is_set() or (wait_s > _ROUNDING_S and self.gone.wait(wait_s)):
            raise CardError(Card.MISSING, f"{self.pcm}: went away while it was in use: No such device")


class FakePlayout(_Stream):
    def __init__(self, card: FakeCard, pcm: str, heard: deque[Pcm]) -> None:
        super().__init__(card, pcm)
        self._heard = heard
        self._until_s: float | None = None
        """When all that was written will have been played."""

    def wait(self) -> None:
        if self._until_s is not None:
            self._pass(self._until_s - _QUEUED_S)

    def write(self, period: Pcm) -> int:
        assert period.shape == (PERIOD_FRAMES,)
        now_s = self.clock.now_s()
        if self._until_s is None:
            lost, self._until_s = 0, now_s + _QUEUED_S
            self._heard.append(SILENCE)
        elif lost := self._dry_frames(now_s):
            self._heard.append(np.zeros(lost, np.int16))
            self._until_s = now_s + _QUEUED_S
        self._pass(self._until_s - _QUEUED_S)
        self._heard.append(period.copy())
        self._until_s += _PERIOD_S
        return lost

    def queued_frames(self) -> int:
        return 0 if self._until_s is None else max(0, round((self._until_s - self.clock.now_s()) * RATE_HZ))

    def _dry_frames(self, now_s: float) -> int:
        """Silence that was heard, with the refill; 0 without an underrun."""
        assert self._until_s is not None
        dry_s, self.forced = max(now_s - self._until_s, self.forced / RATE_HZ), 0
        return round((dry_s + _QUEUED_S) * RATE_HZ) if dry_s > _ROUNDING_S else 0

    def close(self) -> None:
        self._closed = True
        self.card.forget(self)


class FakeCapture(_Stream):
    def __init__(self, card: FakeCard, pcm: str, said: deque[Pcm]) -> None:
        super().__init__(card, pcm)
        self._said = said
        self._from_s: float | None = None
        """Since when frames have been captured that were not read."""

    def read(self) -> tuple[Pcm, int]:
        now_s, lost, self.forced = self.clock.now_s(), self.forced, 0
        if self._from_s is None:
            self._from_s = now_s
        elif now_s - self._from_s - _BUFFER_S > _ROUNDING_S:
            lost = round((now_s - self._from_s) * RATE_HZ)
        if lost:
            self._from_s = now_s
        self._pass(self._from_s + _PERIOD_S)
        self._from_s += _PERIOD_S
        return (self._said.popleft() if self._said else SILENCE.copy()), lost

    def close(self) -> None:
        self._closed = True
        self.card.forget(self)
