"""WebRTC's audio processing module as the package `livekit` brings it (libwebrtc's AEC3, noise suppressor and digital
gain control), behind `media.canceller`. The only file that imports livekit; optional (extra `voice`).

Its native code takes exactly 10 ms and panics at anything else: the process gets SIGTERM, and no exception is raised
(livekit/rtc/_ffi_client.py, `panic`). So sizes are checked before every call.
"""

from typing import Any, Final

import numpy as np

from intercomd.media.canceller import Canceller, CancellerError
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

_BYTES: Final = 2 * PERIOD_FRAMES


def load_livekit(*, echo: bool, noise: bool, gain: bool) -> Canceller:
    """Takes 0.5 to 1 s and 40 MB: to be called in a thread of its own. Raises `CancellerError`."""
    try:
        from livekit.rtc import AudioFrame
        from livekit.rtc.apm import AudioProcessingModule
    except ImportError as error:
        raise CancellerError(f"livekit cannot be loaded ({error}): pip install 'intercomd[voice]'") from error
    try:
        module = AudioProcessingModule(echo_cancellation=echo, noise_suppression=noise, auto_gain_control=gain)
    except (RuntimeError, ImportError, AssertionError) as error:
        raise CancellerError(f"livekit's audio processing does not start: {error}") from error
    return LivekitCanceller(module, AudioFrame)


class LivekitCanceller:
    """For one thread at a time."""

    def __init__(self, module: Any, frame: Any) -> None:
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
