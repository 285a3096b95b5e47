"""The far end's voice between the event loop and the playout thread: Opus is decoded in the playout thread, whose clock
is the card; the loop only hands packets over. It lives as long as the process; an epoch resets it."""

from collections import deque
from collections.abc import Callable
from threading import Lock
from time import monotonic, monotonic_ns

import numpy as np

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.bridge import ClockBridge
from intercomd.media.fixed import FixedBuffer
from intercomd.media.jitter import (
    CONCEALED_FRAMES,
    Conceal,
    Counts,
    Decision,
    Play,
    ReceiveBuffer,
    Recover,
)
from intercomd.media.opus import Decoder, OpusError
from intercomd.media.packet import Packet, duration_frames
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm
from intercomd.media.periods import PeriodRing, split
from intercomd.media.stretch import lengthened, shortened

_HAND_OVER_FRAMES = RATE_HZ * 120 // 1000
"""What waits for the playout thread at most; older packets go (a card that stopped must not leave old voice)."""
_USUAL_FRAMES = 960
"""A packet's length before the first one (RFC 7587 section 6.1: `ptime`)."""
_DECODED_MS = 40
"""Kept of voice that was decoded elsewhere."""
_FADE_FROM_FRAMES = RATE_HZ * 40 // 1000
_RAMP_FRAMES = 240
"""5 ms: voice that returns does not click."""
_AUDIBLE_PEAK = 32
"""−60 dBFS: more than the noise that Opus makes of digital silence, less than a quiet room."""


class ReceivedVoice:
    """The far end's voice, a `VoiceSource`. `pull` belongs to the playout thread, everything else to the event loop."""

    def __init__(
        self, buffer: ReceiveBuffer | None = None, *, buffer_ms: int = 0, now_s: Callable[[], float] = monotonic
    ) -> None:
        """`buffer_ms` is the depth of a fixed buffer, 0: it follows the network. `now_s` is the clock of the packets'
        `arrived_s`. Raises `OpusError` without libopus."""
        self._now_s = now_s
        self._asked_s = 0.0
        self._decoder = Decoder()
        self._bridge = ClockBridge()
        self._buffer = buffer or (FixedBuffer(buffer_ms) if buffer_ms else AdaptiveBuffer())
        self._lock = Lock()  # held through a decode; only close() ever waits for it
        self._packets: deque[Packet] = deque()
        self._packet_frames = _USUAL_FRAMES
        self._decoded = PeriodRing(buffer_ms or _DECODED_MS)
        self._left_over: Pcm = SILENCE[:0]
        self._takes_pcm = False
        self._asked = self._begun = 0
        self._closed = False
        self._pcm: Pcm = SILENCE[:0]
        self._at = 0
        self._gain = 0.0
        self._faded_frames = 0
        self._first_voice_ns: int | None = None
        self.overrun = 0
        """Packets dropped because the playout thread did not take them."""
        self.undecodable = 0
        """Packets that libopus refused; they were concealed."""

    # ------------------------------------------------------------------------------------------------ event loop

    def deliver(self, packet: Packet) -> None:
        """Hand a packet to the playout thread."""
        frames = duration_frames(packet.payload)
        self._packet_frames = frames or self._packet_frames
        limit = max(2, _HAND_OVER_FRAMES // (frames or PERIOD_FRAMES))
        while len(self._packets) >= limit:
            self.overrun += 1
            try:
                self._packets.popleft()
            except IndexError:  # the playout thread was faster
                break
        self._packets.append(packet)

    def deliver_pcm(self, pcm: Pcm) -> None:
        """Hand over voice that was decoded elsewhere: 48 kHz mono, any length. Packets are then not listened to."""
        self._takes_pcm = True
        periods, self._left_over = split(pcm, self._left_over)
        for period in periods:
            self._decoded.put(period)

    def reset(self) -> None:
        """Another stream begins; nothing of the last one is heard any more."""
        self._asked += 1
        self._packets.clear()
        self._packet_frames = _USUAL_FRAMES
        self._takes_pcm = False
        self._decoded.clear()
        self._left_over = SILENCE[:0]

    @property
    def counts(self) -> Counts:
        """Of the present stream, as far as the playout thread has come."""
        return self._buffer.counts if self._begun == self._asked else Counts()

    @property
    def first_voice_ns(self) -> int | None:
        """When the first audible sound of the present stream came out of the decoder, CLOCK_MONOTONIC; None before."""
        return self._first_voice_ns if self._begun == self._asked else None

    @property
    def delay_s(self) -> float:
        """How long voice waits in the receive buffer, smoothed."""
        return self._buffer.delay_frames / RATE_HZ

    @property
    def target_s(self) -> float:
        """The delay that the receive buffer aims at."""
        return self._buffer.target_frames / RATE_HZ

    @property
    def packet_s(self) -> float:
        """How long the far end's packets last, by the latest of them."""
        return self._packet_frames / RATE_HZ

    @property
    def drift_ppm(self) -> float:
        """By how much the far end's clock runs faster than the card's, as corrected; 0.0 while they agree."""
        return self._bridge.ppm if self._begun == self._asked else 0.0

    def close(self) -> None:
        """Free the decoder; `pull` gives silence from now on. Idempotent."""
        with self._lock:
            self._closed = True
            self._decoder.close()

    # --------------------------------------------------------------------------------------------- playout thread

    def pull(self) -> Pcm:
        """One period, shape (480,). The caller may keep it and must not change it."""
        with self._lock:
            if self._closed:
                return SILENCE
            if self._begun != self._asked:
                self._begin()
            if self._takes_pcm:
                period = self._decoded.pull()
                return SILENCE if period is None else self._noticed(period)
            self._take_in()
            self._asked_s = self._now_s()
            self._buffer.slide(self._bridge.slides)
            return self._bridge.period(self._frames, self._asked_s)

    def _begin(self) -> None:
        self._begun = self._asked
        self._buffer.restart()
        self._bridge.restart()
        self._decoder.reset()
        self._pcm, self._at, self._gain, self._faded_frames = SILENCE[:0], 0, 0.0, 0
        self._first_voice_ns = None

    def _take_in(self) -> None:
        while self._packets:
            try:
                packet = self._packets.popleft()
            except IndexError:  # the event loop dropped it
                return
            self._buffer.put(packet)
            if packet.arrived_s:
                self._bridge.made((packet.timestamp + duration_frames(packet.payload)) & 0xFFFFFFFF, packet.arrived_s)

    def _frames(self, frames: int) -> Pcm:
        """So many frames of the far end's time."""
        if self._at == len(self._pcm):
            self._decode_next(0)
        if self._pcm is SILENCE and not self._at and frames == PERIOD_FRAMES:
            self._at = PERIOD_FRAMES
            return SILENCE
        sound = np.empty(frames, np.int16)
        filled = 0
        while filled < frames:
            if self._at == len(self._pcm):
                self._decode_next(filled)
            part = self._pcm[self._at : self._at + frames - filled]
            sound[filled : filled + len(part)] = part
            filled += len(part)
            self._at += len(part)
        return sound

    def _decode_next(self, ahead_frames: int) -> None:
        decision = self._buffer.decide(self._asked_s, ahead_frames)
        self._at = 0
        try:
            self._pcm = self._decode(decision)
        except OpusError:
            self.undecodable += 1
            self._pcm, self._gain = SILENCE, 0.0

    def _decode(self, decision: Decision) -> Pcm:
        if isinstance(decision, Play):
            return self._risen(self._noticed(self._stretched(self._decode_payload(decision), decision)))
        if isinstance(decision, Recover):
            return self._risen(self._decoder.recover(decision.following, decision.frames))
        if isinstance(decision, Conceal):
            return self._faded(self._decoder.conceal(decision.frames))
        self._gain, self._faded_frames = 0.0, 0
        return SILENCE

    def _decode_payload(self, decision: Play) -> Pcm:
        try:
            return self._decoder.decode(decision.payload)
        except OpusError:
            self.undecodable += 1
            return self._decoder.conceal(decision.frames)

    def _stretched(self, pcm: Pcm, decision: Play) -> Pcm:
        if not decision.stretch:
            return pcm
        change = shortened if decision.stretch < 0 else lengthened
        changed = change(pcm, abs(decision.stretch), hurry=decision.hurry)
        if changed is not pcm:
            self._buffer.stretched(len(changed) - len(pcm))
        return changed

    def _noticed(self, pcm: Pcm) -> Pcm:
        if self._first_voice_ns is None and int(pcm.max(initial=0)) >= _AUDIBLE_PEAK:
            self._first_voice_ns = monotonic_ns()
        return pcm

    def _risen(self, pcm: Pcm) -> Pcm:
        self._faded_frames = 0
        if self._gain < 1.0:
            _ramp(pcm[:_RAMP_FRAMES], self._gain, 1.0)
            self._gain = 1.0
        return pcm

    def _faded(self, pcm: Pcm) -> Pcm:
        """Concealment in full for 40 ms, then down to nothing at 100 ms."""
        self._faded_frames += len(pcm)
        beyond = (self._faded_frames - _FADE_FROM_FRAMES) / (CONCEALED_FRAMES - _FADE_FROM_FRAMES)
        gain = min(self._gain, max(0.0, 1.0 - max(0.0, beyond)))
        if gain < 1.0:
            _ramp(pcm, self._gain, gain)
            self._gain = gain
        return pcm


def _ramp(pcm: Pcm, start: float, end: float) -> None:
    """Scale `pcm` in place from one gain to another."""
    np.multiply(pcm, np.linspace(start, end, len(pcm), dtype=np.float32), out=pcm, casting="unsafe")
