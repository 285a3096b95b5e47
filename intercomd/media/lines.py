"""The two directions of the sound card, each driven by its own thread through `step`.

A line opens its PCM, moves one period a step, and when the card fails closes, says so and tries again by a back-off.
Orders come from other threads as plain attributes and a wake-up; nothing here waits longer than `IDLE_S`.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from intercomd.core.events import Card
from intercomd.media.clock import Clock
from intercomd.media.mixer import Mixer
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm, VoiceSink, VoiceSource, level_dbfs
from intercomd.media.periods import split
from intercomd.media.processing import VoiceProcessing
from intercomd.ports import CaptureStream, CardError, PlayoutStream, SoundCard

PERIOD_S: Final = PERIOD_FRAMES / RATE_HZ
BACKOFF_S: Final = (0.25, 0.5, 1.0)
"""The last one is repeated. A card must be in use again within 2 s of its return; opening both of its directions and
the first periods are the other second: an emulated Pi took 0.5 s for them."""
STEADY_PERIODS: Final = 100
"""A card that opens and fails at once must not be opened four times a second for ever."""
IDLE_S: Final = 1.0
_MAX_OWED_PERIODS: Final = 200
_MAX_INSERTED_FRAMES: Final = 10 * PERIOD_FRAMES
"""What the encoder's queue holds. After a longer gap the far end begins anew anyway."""
_SILENT_DBFS: Final = -96.0
_METER_PERIODS: Final = 5
_DECAY_DB: Final = 5.0
"""Per look, every 50 ms: a meter falls from full scale to silence in one second."""

OnCard = Callable[[Card, str], None]


class _Retry:
    """When to try again, and for how long it has gone well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._steady = 0
        self.at_s = clock.now_s()

    def failed(self) -> None:
        self.at_s = self._clock.now_s() + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self._steady = 0

    def moved(self) -> None:
        self._steady += 1
        if self._steady >= STEADY_PERIODS:
            self._failures = 0

    def wait_s(self) -> float:
        return max(0.0, self.at_s - self._clock.now_s())


class _Meter:
    """Looks at every fifth period: numpy's few calls cost as much as the write itself when the caches are cold."""

    def __init__(self) -> None:
        self.dbfs = _SILENT_DBFS
        self._until_next = 0

    def see(self, period: Pcm) -> None:
        if self._until_next:
            self._until_next -= 1
            return
        self._until_next = _METER_PERIODS - 1
        self.dbfs = max(level_dbfs(period), self.dbfs - _DECAY_DB)

    def clear(self) -> None:
        self.dbfs = _SILENT_DBFS


class PlayoutLine:
    """Always open when it can be. Without a card the source is drained in real time all the same, so that the far
    end's voice is not late afterwards; frames that an underrun cost are skipped for the same reason."""

    def __init__(
        self,
        card: SoundCard,
        pcm: str,
        source: VoiceSource,
        clock: Clock,
        on_card: OnCard,
        on_xrun: Callable[[int], None],
        processing: VoiceProcessing | None = None,
    ) -> None:
        self.pcm = pcm
        self.mixer = Mixer()
        self.meter = _Meter()
        self.wake = clock.wakeup()
        self.periods = 0
        """Pulled from the source, heard or not: proof of life."""
        self.queued_frames = 0
        self.voice_muted = False
        """The far end is not heard, tones are."""
        self._processing = processing
        self._card, self._source, self._clock = card, source, clock
        self._on_card, self._on_xrun = on_card, on_xrun
        self._stream: PlayoutStream | None = None
        self._stream_pcm = ""
        self._retry = _Retry(clock)
        self._due_s = clock.now_s()
        self._skip_frames = 0

    @property
    def open(self) -> bool:
        return self._stream is not None

    def step(self) -> None:
        """One period, or as long as one."""
        if self._stream_pcm != self.pcm:
            self.close()
            self._stream_pcm, self._retry = self.pcm, _Retry(self._clock)
        if self._stream is None and self._retry.wait_s() == 0:
            self._open()
        if self._stream is None:
            self._let_pass()
        else:
            self._play(self._stream)

    def close(self) -> None:
        """Idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self.queued_frames = 0
        self.meter.clear()

    def _open(self) -> None:
        try:
            self._stream = self._card.open_playout(self._stream_pcm)
            if self._processing is not None:
                self._processing.restarted(self._stream_pcm)
        except CardError as error:
            self._fail(error)
        late_periods = int((self._clock.now_s() - self._due_s) / PERIOD_S)
        self._skip(late_periods * PERIOD_FRAMES)
        self._due_s += late_periods * PERIOD_S

    def _play(self, stream: PlayoutStream) -> None:
        try:
            stream.wait()
            period = self._next()
            lost = stream.write(period)
            self.queued_frames = stream.queued_frames()
        except CardError as error:
            self._fail(error)
            return
        if self._processing is not None:
            self._processing.played(period, lost)
        self._due_s = self._clock.now_s()
        self.meter.see(period)
        self._retry.moved()
        self._on_card(Card.READY, self._stream_pcm)
        if lost:
            self._skip(lost)
            self._on_xrun(lost)

    def _let_pass(self) -> None:
        self._next()
        self._due_s += PERIOD_S
        wait_s = self._due_s - self._clock.now_s()
        if wait_s > 0:
            self.wake.wait(wait_s)
            self.wake.clear()

    def _next(self) -> Pcm:
        self.periods += 1
        voice = self._source.pull()
        return self.mixer.over(SILENCE if self.voice_muted else voice)

    def _skip(self, frames: int) -> None:
        """What should have been heard while nothing could be."""
        self._skip_frames += frames
        periods, self._skip_frames = divmod(self._skip_frames, PERIOD_FRAMES)
        for _ in range(min(periods, _MAX_OWED_PERIODS)):
            self._source.pull()

    def _fail(self, error: CardError) -> None:
        self.close()
        self._retry.failed()
        self._on_card(error.card, str(error))


class CaptureLine:
    """Open only while the microphone is wanted, or for one period to learn whether there is one: what such a probe
    captures goes nowhere. A probe that fails is repeated by the back-off."""

    def __init__(
        self,
        card: SoundCard,
        pcm: str,
        sink: VoiceSink,
        clock: Clock,
        on_card: OnCard,
        on_xrun: Callable[[int], None],
        on_microphone: Callable[[bool], None],
        processing: VoiceProcessing | None = None,
    ) -> None:
        self.pcm = pcm
        self.wanted = False
        self.meter = _Meter()
        self.wake = clock.wakeup()
        self.periods = 0
        self.turns = 0
        """Of `step`, whether there was something to do or not: proof of life."""
        self.live = False
        """A period has been read for the call and the PCM is open: what the microphone LED shows."""
        self._card, self._sink, self._clock = card, sink, clock
        self._on_card, self._on_xrun, self._on_microphone = on_card, on_xrun, on_microphone
        self._processing = processing
        self._stream: CaptureStream | None = None
        self._stream_pcm = ""
        self._known_pcm = ""
        self._left_over: Pcm = SILENCE[:0]
        self._retry = _Retry(clock)

    def doubt(self) -> None:
        """Whatever was known of the microphone, probe it again."""
        self._known_pcm = ""
        self.wake.set()

    @property
    def _needed(self) -> bool:
        return self.wanted or self._known_pcm != self.pcm

    def step(self) -> None:
        """One period, or a wait until there is something to do."""
        self.turns += 1
        if self._stream is not None and (self._stream_pcm != self.pcm or not self._needed):
            self.close()
        if self._stream is None and (wait_s := self._wait_s()) > 0:
            self.wake.wait(wait_s)
            self.wake.clear()  # after the wait, before the orders are read: none is overlooked
            return
        try:
            self._read()
        except CardError as error:
            self._fail(error)

    def close(self) -> None:
        """Idempotent. The LED goes out after the PCM is closed, never before."""
        self._left_over = SILENCE[:0]
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self.meter.clear()
        if self.live:
            self.live = False
            self._on_microphone(False)

    def _wait_s(self) -> float:
        if not self._needed:
            return IDLE_S
        return 0.0 if self.pcm != self._stream_pcm else self._retry.wait_s()

    def _read(self) -> None:
        if self._stream is None:
            pcm, self._stream_pcm = self.pcm, self.pcm
            self._stream = self._card.open_capture(pcm)
        period, lost = self._stream.read()
        self._known_pcm = self._stream_pcm
        self._retry.moved()
        self._on_card(Card.READY, self._stream_pcm)
        if lost:
            self._on_xrun(lost)
        if self.wanted:
            self._hand_on(period, lost)

    def _hand_on(self, period: Pcm, lost: int) -> None:
        if not self.live:
            self.live = True
            if self._processing is not None:
                self._processing.begin(self._stream_pcm)
            self._on_microphone(True)
            lost = 0
        self.periods += 1
        self.meter.see(period)
        self._send(period if self._processing is None else self._processing.captured(period, lost), lost)

    def _send(self, period: Pcm, lost: int) -> None:
        """Silence for what an overrun cost, to the frame, or everything after it would be early at the far end, whose
        buffer then holds so much less. What is less than a period stays behind, for as long as the PCM is open."""
        if lost:
            silence = np.zeros(min(lost, _MAX_INSERTED_FRAMES), np.int16)
            self._left_over = np.concatenate((self._left_over, silence))
        if not len(self._left_over):
            self._sink.push(period)
            return
        periods, self._left_over = split(period, self._left_over)
        for whole in periods:
            self._sink.push(whole)

    def _fail(self, error: CardError) -> None:
        self.close()
        self._known_pcm = ""  # so it is tried until it is back, microphone wanted or not
        self._retry.failed()
        self._on_card(error.card, str(error))
