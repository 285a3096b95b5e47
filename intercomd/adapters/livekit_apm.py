"""WebRTC's audio processing module as the package `livekit` brings it (libwebrtc's AEC3, noise suppressor and digital
gain control), behind `media.canceller`. The only file that imports livekit; optional (extra `voice`).

Its native code takes exactly 10 ms and panics at anything else: the process gets SIGTERM, and no exception is raised
(livekit/rtc/_ffi_client.py, `panic`). So sizes are checked before every call.

The package makes a protobuf message of each call, a hundred times a second and twice: that costs as much as the
processing itself. The messages never change, since the buffers stay where they are, so they are made once and the
library is called with them directly. That takes private names of the package (pinned to one minor, contract-tested);
where they are missing, its public way is taken.
"""

import ctypes
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import numpy as np

from intercomd.media.canceller import Canceller, CancellerError
from intercomd.media.echo_delay import chirp
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

_BYTES: Final = 2 * PERIOD_FRAMES
_MOST_LATE_FRAMES: Final = RATE_HZ * 40 // 1000


class _Way(NamedTuple):
    """Two buffers of one period each, shape (480,) int16, and what processes them in place, or raises RuntimeError."""

    captured: Pcm
    reference: Pcm
    process: Callable[[], None]
    process_reference: Callable[[], None]


def installed() -> bool:
    """Whether there is a livekit to load; at no cost: nothing of it is imported."""
    try:
        return find_spec("livekit.rtc") is not None
    except (ImportError, ValueError):
        return False


def load_livekit(*, echo: bool, noise: bool, gain: bool, direct: bool = True) -> Canceller:
    """Takes 0.5 to 1 s and 40 MB: to be called in a thread of its own. `direct` leaves out the package's own messages
    where it can. Raises `CancellerError`."""
    try:
        from livekit.rtc.apm import AudioProcessingModule
    except ImportError as error:
        raise CancellerError(f"livekit cannot be loaded ({error}): pip install 'intercomd[voice]'") from error

    def module() -> Any:
        return AudioProcessingModule(echo_cancellation=echo, noise_suppression=noise, auto_gain_control=gain)

    try:
        make = _direct if direct else _public
        late_frames = _lateness(LivekitCanceller(module(), make, 0))
        if late_frames == 0 and direct and (echo or noise):  # nothing came of it: the seam is another one
            return load_livekit(echo=echo, noise=noise, gain=gain, direct=False)
        return LivekitCanceller(module(), make, late_frames)
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

    def __init__(self, module: Any, way: Callable[[Any], _Way], late_frames: int) -> None:
        self.late_frames = late_frames
        self._module: Any = module
        self._way = way(module)

    def process(self, captured: Pcm, reference: Pcm) -> Pcm:
        """Both of shape (480,), int16; `reference` is what was played, ahead of its echo by up to some 200 ms."""
        for period in (captured, reference):
            if period.dtype != np.int16 or period.shape != (PERIOD_FRAMES,):
                raise ValueError(
                    f"{period.nbytes} bytes of {period.dtype}: livekit ends the process unless it gets {_BYTES}"
                )
        if self._module is None:
            raise CancellerError("livekit's audio processing is closed")
        way = self._way
        way.reference[:] = reference
        way.captured[:] = captured
        try:
            way.process_reference()
            way.process()
        except (RuntimeError, AssertionError) as error:
            raise CancellerError(f"livekit's audio processing failed: {error}") from error
        return way.captured.copy()

    def expect_delay(self, delay_ms: int) -> None:
        """A hint; AEC3 finds the delay by itself."""
        if self._module is not None:
            self._module.set_stream_delay_ms(delay_ms)

    def close(self) -> None:
        """Idempotent. The native side frees it with the last reference."""
        self._module = None


def _public(module: Any) -> _Way:
    from livekit.rtc import AudioFrame

    sounds = [bytearray(_BYTES), bytearray(_BYTES)]
    frames = [AudioFrame(sound, RATE_HZ, 1, PERIOD_FRAMES) for sound in sounds]
    captured, reference = (np.frombuffer(frame.data, np.int16) for frame in frames)
    return _Way(
        captured,
        reference,
        lambda: module.process_stream(frames[0]),
        lambda: module.process_reverse_stream(frames[1]),
    )


def _direct(module: Any) -> _Way:
    captured, reference = np.zeros(PERIOD_FRAMES, np.int16), np.zeros(PERIOD_FRAMES, np.int16)
    try:
        return _Way(
            captured,
            reference,
            _request("apm_process_stream", module, captured),
            _request("apm_process_reverse_stream", module, reference),
        )
    except (ImportError, AttributeError, TypeError, ValueError):
        return _public(module)


def _request(name: str, module: Any, sound: Pcm) -> Callable[[], None]:
    """One request that is made once. Its answer is three bytes as long as there is no error in it."""
    from livekit.rtc._ffi_client import FfiClient
    from livekit.rtc._proto import ffi_pb2

    message, answer = ffi_pb2.FfiRequest(), ffi_pb2.FfiResponse()
    part = getattr(message, name)
    part.apm_handle, part.data_ptr, part.size = module._ffi_handle.handle, sound.ctypes.data, _BYTES  # noqa: SLF001
    part.sample_rate, part.num_channels = RATE_HZ, 1
    getattr(answer, name).SetInParent()
    good = answer.SerializeToString()
    library = FfiClient.instance._ffi_lib  # noqa: SLF001
    request, drop = library.livekit_ffi_request, library.livekit_ffi_drop_handle
    said, length = message.SerializeToString(), message.ByteSize()
    asked = (ctypes.c_ubyte * length).from_buffer_copy(said)
    at, size = ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_size_t()
    at_pointer, size_pointer = ctypes.byref(at), ctypes.byref(size)

    def call() -> None:
        handle = request(asked, length, at_pointer, size_pointer)
        told = ctypes.string_at(at, size.value) if handle else b""
        if handle:
            drop(handle)
        if told != good:
            raise RuntimeError(getattr(ffi_pb2.FfiResponse.FromString(told), name).error or "no answer")

    return call
