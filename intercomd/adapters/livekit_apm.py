"""WebRTC's audio processing module as the package `livekit` brings it (libwebrtc's AEC3, noise suppressor and digital
gain control), behind `media.canceller`. The only file that imports livekit; optional (extra `voice`).

Its native code takes exactly 10 ms and panics at anything else: the process gets SIGTERM, and no exception is raised
(livekit/rtc/_ffi_client.py, `panic`). So sizes are checked before every call.
"""

from typing import Any, Final

import numpy as np

from intercomd.media.canceller import Canceller, CancellerError
from intercomd.media.echo_delay import chirp
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

_BYTES: Final = 2 * PERIOD_FRAMES
_MOST_LATE_FRAMES: Final = RATE_HZ * 40 // 1000


def load_livekit(*, echo: bool, noise: bool, gain: bool) -> Canceller:
    """Takes 0.5 to 1 s and 40 MB: to be called in a thread of its own. Raises `CancellerError`."""
    try:
        from livekit.rtc import AudioFrame
        from livekit.rtc.apm import AudioProcessingModule
    except ImportError as error:
        raise CancellerError(f"livekit cannot be loaded ({error}): pip install 'intercomd[voice]'") from error

    def module() -> Any:
        return AudioProcessingModule(echo_cancellation=echo, noise_suppression=noise, auto_gain_control=gain)

    try:
        late_frames = _lateness(LivekitCanceller(module(), AudioFrame, 0))
        return LivekitCanceller(module(), AudioFrame, late_frames)
    except (RuntimeError, ImportError, AssertionError) as error:
        raise CancellerError(f"livekit's audio processing does not start: {error}") from error


def _lateness(canceller: "LivekitCanceller") -> int:
    """It depends on the parts that are switched on, and nothing tells it: so a chirp is sent through one that is thrown
    away."""
    silence = np.zeros(PERIOD_FRAMES, np.int16)
    said = np.concatenate([np.zeros(20 * PERIOD_FRAMES, np.int16), chirp(), np.zeros(10 * PERIOD_FRAMES, np.int16)])
    heard = np.concatenate([canceller.process(period, silence) for period in said.reshape(-1, PERIOD_FRAMES)])
    size = 1 << (2 * len(said)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    return int(np.argmax(np.abs(cross[:_MOST_LATE_FRAMES])))


class LivekitCanceller:
    """For one thread at a time."""

    def __init__(self, module: Any, frame: Any, late_frames: int) -> None:
        self.late_frames = late_frames
        self._module: Any = module
        self._frame = frame

    def process(self, captured: Pcm, reference: Pcm) -> Pcm:
        """Both of shape (480,), int16; `reference` is what was played, ahead of its echo by up to some 200 ms."""
        ahead, frame = self._framed(reference), self._framed(captured)
        if self._module is None:
            raise CancellerError("livekit's audio processing is closed")
        try:
            self._module.process_reverse_stream(ahead)
            self._module.process_stream(frame)
        except (RuntimeError, AssertionError) as error:
            raise CancellerError(f"livekit's audio processing failed: {error}") from error
        return np.frombuffer(frame.data, np.int16)

    def _framed(self, period: Pcm) -> Any:
        sound = bytearray(period.tobytes())
        if period.dtype != np.int16 or len(sound) != _BYTES:
            raise ValueError(f"{len(sound)} bytes of {period.dtype}: livekit ends the process unless it gets {_BYTES}")
        return self._frame(sound, RATE_HZ, 1, PERIOD_FRAMES)

    def expect_delay(self, delay_ms: int) -> None:
        """A hint; AEC3 finds the delay by itself."""
        if self._module is not None:
            self._module.set_stream_delay_ms(delay_ms)

    def close(self) -> None:
        """Idempotent. The native side frees it with the last reference."""
        self._module = None
