"""The engine's one audio format: 48 kHz, mono, signed 16 bit, in periods of 480 frames (10 ms)."""

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

RATE_HZ = 48_000
PERIOD_FRAMES = 480
"""10 ms: what the card hands over at a time, and what echo cancellers take."""
PERIODS = 4
"""The card's buffer. 480 × 4 was measured: 960 × 3 gave write xruns and four times the latency."""
QUEUED_PERIODS = 2
"""How much playout is kept queued; the rest of the buffer is reserve."""

Pcm = npt.NDArray[np.int16]
"""shape (frames,), 48 kHz mono, native-endian signed 16 bit."""

SILENCE: Pcm = np.zeros(PERIOD_FRAMES, np.int16)
SILENCE.setflags(write=False)
_FLOOR_DBFS = -96.0


class VoiceSource(Protocol):
    """Where the playout thread gets the far end's voice."""

    def pull(self) -> Pcm:
        """Exactly one period, shape (480,). Called every 10 ms in the playout thread: never blocks, never raises,
        gives silence when there is nothing."""
        ...


class VoiceSink(Protocol):
    """Where the capture thread puts the near end's voice."""

    def push(self, period: Pcm) -> None:
        """Take one period, shape (480,). Called every 10 ms in the capture thread: never blocks, never raises."""
        ...


def level_dbfs(period: Pcm | npt.NDArray[np.float32]) -> float:
    """RMS level relative to a full-scale square wave, in dBFS; −96.0 for silence."""
    if period is SILENCE or not len(period):
        return _FLOOR_DBFS
    wave = period.astype(np.float32, copy=False)
    power = float(np.dot(wave, wave)) / len(wave)
    return max(_FLOOR_DBFS, 10.0 * math.log10(power / 32768.0**2)) if power > 0 else _FLOOR_DBFS


def mix(one: Pcm, other: Pcm) -> Pcm:
    """The sum of two periods, clipped to the format."""
    total: npt.NDArray[np.int32] = one.astype(np.int32) + other
    return total.clip(-32768, 32767).astype(np.int16)
