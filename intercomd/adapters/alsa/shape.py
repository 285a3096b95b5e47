"""What a card grants when it does not grant 48 kHz, mono, 16 bit, and the way there and back.

Cheap USB headsets have 44.1 kHz only, hands-free chips 16 kHz, I2S microphones stereo in 32 bit; alsa-lib's `plug`
converts all that, but with its linear resampler (−64 dB) unless told otherwise, and only if asound.conf says so.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from intercomd.media.resample import Resampler

SAMPLE_BYTES: Final = {"S16_LE": 2, "S24_LE": 4, "S24_3LE": 3, "S32_LE": 4}
_LOWEST_HZ: Final = 8000
FRAME_BYTES: Final = 2
PERIOD_BYTES: Final = PERIOD_FRAMES * FRAME_BYTES


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a card's audio; "ours" are frames of 48 kHz, "theirs" the card's."""

    rate_hz: int = RATE_HZ
    channels: int = 1
    sample: str = "S16_LE"

    @property
    def usual(self) -> bool:
        return self == Shape()

    @property
    def frame_bytes(self) -> int:
        return SAMPLE_BYTES[self.sample] * self.channels

    @property
    def period_frames(self) -> int:
        """10 ms of theirs, rounded up."""
        return ceil(self.theirs(PERIOD_FRAMES))

    def ours(self, frames: float) -> int:
        return int(frames) if self.rate_hz == RATE_HZ else round(frames * RATE_HZ / self.rate_hz)

    def theirs(self, frames: float) -> float:
        return frames * self.rate_hz / RATE_HZ

    def silence(self, ours: int) -> bytes:
        return bytes(round(self.theirs(ours)) * self.frame_bytes)

    def __str__(self) -> str:
        return f"{self.channels} channel(s) of {self.sample} at {self.rate_hz} Hz"


def granted_shape(granted: dict[str, Any]) -> Shape:
    """Out of what alsa-lib says that it granted (pyalsaaudio's `PCM.info()`)."""
    return Shape(granted["rate"], granted["channels"], granted["format_name"])


def convertible(shape: Shape) -> bool:
    return shape.sample in SAMPLE_BYTES and shape.rate_hz >= _LOWEST_HZ and shape.channels >= 1


class ToCard:
    """Periods of ours become bytes of theirs."""

    def __init__(self, shape: Shape) -> None:
        self._shape, self._usual = shape, shape.usual
        self._resampler = None if shape.rate_hz == RATE_HZ else Resampler(RATE_HZ / shape.rate_hz)

    def block(self, period: Pcm) -> bytes:
        """10 ms, give or take a frame; where rates differ it is 0.5 ms late, and the first block is so much shorter."""
        if self._usual:
            return period.tobytes()
        if self._resampler is not None:
            self._resampler.put(period)
            period = self._resampler.take(self._resampler.ready)
        return _samples_of(np.repeat(period, self._shape.channels), self._shape.sample)


class FromCard:
    """Bytes of theirs become periods of ours.

    What is no whole period yet is held as bytes, not as an array: alsa-lib's pulse plugin gives blocks of any length,
    and numpy keeps seven freed blocks of each length below 1 KiB for good, 1.8 MB of them after a few hundred calls.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape, self._usual = shape, shape.usual
        self._resampler = None if shape.rate_hz == RATE_HZ else Resampler(shape.rate_hz / RATE_HZ)
        self._held = b""

    def put(self, block: bytes) -> None:
        """Whole frames."""
        if not self._usual:
            mono = _mono(_pcm_of(block, self._shape.sample), self._shape.channels)
            if self._resampler is not None:
                self._resampler.put(mono)
                mono = self._resampler.take(self._resampler.ready)
            block = mono.tobytes()
        self._held = self._held + block if self._held else block

    def period(self) -> Pcm | None:
        """The next whole period, not to be written to, or None while it is not complete."""
        if len(self._held) < PERIOD_BYTES:
            return None
        period, self._held = self._held[:PERIOD_BYTES], self._held[PERIOD_BYTES:]
        return np.frombuffer(period, np.int16)

    def forget(self) -> int:
        """Drop what is no whole period yet; how many frames of ours that were."""
        dropped, self._held = len(self._held) // FRAME_BYTES, b""
        return dropped


def _samples_of(pcm: Pcm, sample: str) -> bytes:
    match sample:
        case "S32_LE":
            return (pcm.astype("<i4") << 16).tobytes()
        case "S24_LE":
            return (pcm.astype("<i4") << 8).tobytes()
        case "S24_3LE":
            wide = np.zeros((len(pcm), 3), np.uint8)
            wide[:, 1:] = pcm.astype("<i2").view(np.uint8).reshape(-1, 2)
            return wide.tobytes()
    return pcm.astype("<i2").tobytes()


def _pcm_of(block: bytes, sample: str) -> Pcm:
    """The upper 16 bits: what is below them is a microphone's own noise."""
    match sample:
        case "S32_LE":
            return (np.frombuffer(block, "<i4") >> 16).astype(np.int16)
        case "S24_LE":
            return (np.frombuffer(block, "<i4") >> 8).astype(np.int16)  # alsa-lib: the upper byte counts for nothing
        case "S24_3LE":
            upper = np.frombuffer(block, np.uint8).reshape(-1, 3)[:, 1:]
            return np.ascontiguousarray(upper).view("<i2").reshape(-1).astype(np.int16)
    return np.frombuffer(block, np.int16)


def _mono(pcm: Pcm, channels: int) -> Pcm:
    """Stereo is averaged, as `plug` does; of a microphone array the first channel is the one that it has processed."""
    if channels == 1:
        return pcm
    frames: npt.NDArray[np.int16] = pcm.reshape(-1, channels)
    if channels > 2:
        return np.ascontiguousarray(frames[:, 0])
    both: npt.NDArray[np.int32] = frames[:, 0].astype(np.int32) + frames[:, 1]
    return (both >> 1).astype(np.int16)
