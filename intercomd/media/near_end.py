"""The near end's voice between the capture thread and the event loop: Opus is encoded in the capture thread, whose
clock is the card; the loop only hands packets over. It lives as long as the process; an epoch starts and stops it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from time import thread_time

import numpy as np

from intercomd.media.opus import Encoder
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from intercomd.media.sending import (
    LONG_MS,
    Coding,
    PacketMs,
    Report,
    Sending,
    Wanted,
    affordable,
    coding,
    reported,
)

_WAITING_FRAMES = RATE_HZ * 100 // 1000
"""What waits for the event loop at most."""
_SILENCE_BPS = 16_000
_COST_FRAMES = RATE_HZ
"""How often the encoder's cost is looked at."""
_QUIET_PEAK = 250
"""−42 dBFS: a pause between two words."""
_PAUSE_WITHIN_FRAMES = RATE_HZ // 2


@dataclass(frozen=True, slots=True)
class SentFrame:
    """A packet of the near end's voice on its way: where capture was when it began and how long it lasts, in frames of
    48 kHz, and its Opus payload, or None where DTX found nothing worth sending."""

    at_frames: int
    frames: int
    payload: bytes | None


class SentVoice:
    """The near end's voice, a `VoiceSink`. `push` belongs to the capture thread, everything else to the event loop."""

    def __init__(
        self, *, bitrate_bps: int = 48_000, frame_ms: PacketMs = LONG_MS, fec: bool = True, dtx: bool = False,
        complexity: int = 6, cpu_s: Callable[[], float] = thread_time,
    ) -> None:  # fmt: skip
        """`complexity` is lowered on a processor that is too slow for it; `cpu_s` tells the capture thread's processor
        time. Raises `OpusError` without libopus."""
        self._wanted = Wanted(bitrate_bps, frame_ms, complexity)
        self._cpu_s = cpu_s
        self._sending = Sending()
        self._coding = coding(self._sending, self._wanted)
        self._encoder = Encoder(
            bitrate_bps=bitrate_bps, frame_ms=self._coding.frame_ms, fec=fec, dtx=dtx, complexity=complexity
        )
        self._encoder.expect_loss(self._coding.expected_loss_percent)
        self.silence, self.silence_frames = _silent_packet()
        """A packet of silence, to be sent while nothing is pushed, and its length in frames of 48 kHz."""
        self._dtx = dtx
        self._lock = Lock()  # held through an encode; only close() ever waits for it
        self._frame: Pcm = np.zeros(RATE_HZ * LONG_MS // 1000, np.int16)
        self._filled = 0
        self._pushed_frames = 0
        self._waited_frames = 0
        self._waiting: deque[SentFrame] = deque()
        self._wake: Callable[[], None] | None = None
        self._asked = self._begun = 0
        self._coded_frames, self._coding_s = 0, 0.0
        self._closed = False
        self.dropped = 0
        """Packets dropped because the event loop did not take them."""

    # --------------------------------------------------------------------------------------------- capture thread

    def push(self, period: Pcm) -> None:
        """Take one period, shape (480,); dropped while nothing is being sent."""
        wake = self._wake
        if wake is None:
            return
        with self._lock:
            if self._closed:
                return
            if self._begun != self._asked:
                self._begin()
            elif not self._filled:
                self._follow(period)
            self._frame[self._filled : self._filled + PERIOD_FRAMES] = period
            self._filled += PERIOD_FRAMES
            self._pushed_frames += PERIOD_FRAMES
            frames = self._encoder.frames
            if self._filled < frames:
                return
            self._filled = 0
            payload = self._encoded(self._frame[:frames])
        self._hand_over(SentFrame(self._pushed_frames - frames, frames, payload))
        wake()

    def _begin(self) -> None:
        self._begun = self._asked
        self._encoder.reset()
        self._filled = 0
        self._take_up(coding(self._sending, self._wanted))

    def _follow(self, period: Pcm) -> None:
        """Before a packet: another length waits for a pause, and what goes with it: the first longer packet comes later
        than the far end's buffer is deep, and 10 ms are concealed there. All of it changes at once, so that no copy
        is ever of a packet of another length: libopus would code it with the present one's tables."""
        asked = coding(self._sending, self._wanted)
        if asked.frame_ms != self._coding.frame_ms and self._waited_frames < _PAUSE_WITHIN_FRAMES:
            self._waited_frames += self._encoder.frames
            if int(np.abs(period.astype(np.int32)).max()) > _QUIET_PEAK:
                return
        if asked != self._coding:
            self._take_up(asked)

    def _take_up(self, asked: Coding) -> None:
        self._waited_frames = 0
        before, self._coding = self._coding, asked
        changes = (
            ("frame_ms", self._encoder.set_frame_ms), ("bitrate_bps", self._encoder.set_bitrate),
            ("expected_loss_percent", self._encoder.expect_loss), ("complexity", self._encoder.set_complexity),
        )  # fmt: skip
        for name, change in changes:
            if getattr(asked, name) != getattr(before, name):
                change(getattr(asked, name))

    def _encoded(self, pcm: Pcm) -> bytes | None:
        began_s = self._cpu_s()
        payload = self._encoder.encode(pcm)
        self._weigh_cost(self._cpu_s() - began_s, len(pcm))
        return None if self._dtx and len(payload) <= 2 else payload

    def _weigh_cost(self, coding_s: float, frames: int) -> None:
        self._coding_s += coding_s
        self._coded_frames += frames
        if self._coded_frames < _COST_FRAMES:
            return
        lower = affordable(self._coding.complexity, self._coding_s, self._coded_frames / RATE_HZ)
        self._coded_frames, self._coding_s = 0, 0.0
        if lower != self._coding.complexity:
            self._wanted = replace(self._wanted, complexity=lower)

    def _hand_over(self, frame: SentFrame) -> None:
        while len(self._waiting) >= _WAITING_FRAMES // frame.frames:
            self.dropped += 1
            try:
                self._waiting.popleft()
            except IndexError:  # the event loop was faster
                break
        self._waiting.append(frame)

    # ------------------------------------------------------------------------------------------------ event loop

    def start(self, wake: Callable[[], None]) -> None:
        """Begin another stream: encode from now on. `wake` is called in the capture thread after each packet; it must
        neither block nor raise."""
        self._sending = Sending()
        self._asked += 1
        self._waiting.clear()
        self._wake = wake

    def stop(self) -> None:
        """Drop what is pushed. Idempotent."""
        self._wake = None
        self._waiting.clear()

    def take(self) -> SentFrame | None:
        """The oldest frame that waits, or None."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def report(self, report: Report) -> None:
        """About once a second: bit rate, error correction, length of packets and effort are laid out for it."""
        self._sending = reported(self._sending, report)

    def close(self) -> None:
        """Free the encoder; `push` does nothing from now on. Idempotent."""
        self.stop()
        with self._lock:
            self._closed = True
            self._encoder.close()


def _silent_packet() -> tuple[bytes, int]:
    """Long, whatever voice has: nobody waits for it."""
    with Encoder(bitrate_bps=_SILENCE_BPS, frame_ms=LONG_MS, fec=False, complexity=0) as encoder:
        zeros = np.zeros(encoder.frames, np.int16)
        packets = [encoder.encode(zeros) for _ in range(10)]  # the first ones still settle
        return packets[-1], encoder.frames
