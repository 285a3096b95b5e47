"""libopus through ctypes: one encoder for the near end's voice, one decoder for the far end's.

libav's wrapper has neither concealment nor error correction nor the encoder's settings. ctypes releases the GIL for the
length of each call, so the event loop runs on while an audio thread codes. One codec belongs to one thread at a time.
"""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_void_p
from functools import cache
from types import TracebackType
from typing import Self

import numpy as np

from intercomd.media.packet import MAX_FRAMES
from intercomd.media.pcm import RATE_HZ, Pcm

LIBRARY = "libopus.so.0"

_APPLICATION_VOIP = 2048
_SIGNAL_VOICE = 3001
_SET_BITRATE, _SET_COMPLEXITY, _SET_FEC, _SET_LOSS, _SET_DTX, _SET_SIGNAL = 4002, 4010, 4012, 4014, 4016, 4024
_RESET_STATE = 4028
_MAX_PACKET_BYTES = 1275
"""The longest packet of one frame (RFC 6716 section 3.2.1): it never has to be cut."""


class OpusError(Exception):
    """libopus is missing, refuses its arguments, or the packet cannot be decoded; the text says which."""


@cache
def library() -> ctypes.CDLL:
    """The shared library with its signatures. Raises `OpusError`."""
    try:
        loaded = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise OpusError(f"{LIBRARY} cannot be loaded ({error}); install it: apt install libopus0") from error
    loaded.opus_strerror.restype = c_char_p
    loaded.opus_encoder_create.argtypes = [c_int32, c_int, c_int, POINTER(c_int)]
    loaded.opus_encoder_create.restype = c_void_p
    loaded.opus_encode.argtypes = [c_void_p, c_void_p, c_int, c_void_p, c_int32]
    loaded.opus_encoder_ctl.argtypes = [c_void_p, c_int]
    loaded.opus_encoder_destroy.argtypes = [c_void_p]
    loaded.opus_decoder_create.argtypes = [c_int32, c_int, POINTER(c_int)]
    loaded.opus_decoder_create.restype = c_void_p
    loaded.opus_decode.argtypes = [c_void_p, c_char_p, c_int32, c_void_p, c_int, c_int]
    loaded.opus_decoder_ctl.argtypes = [c_void_p, c_int]
    loaded.opus_decoder_destroy.argtypes = [c_void_p]
    return loaded


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OpusError(f"{what}: {library().opus_strerror(result).decode('ascii', 'replace')} ({result})")
    return result


class Encoder:
    """Mono voice at 48 kHz (application VOIP, signal voice), frames of 10 or 20 ms."""

    def __init__(
        self, *, bitrate_bps: int = 48_000, frame_ms: int = 20, fec: bool = True, dtx: bool = False, complexity: int = 6
    ) -> None:
        """Raises `OpusError` without libopus or for settings that it refuses."""
        self.set_frame_ms(frame_ms)
        self._library = library()
        self._packet = ctypes.create_string_buffer(_MAX_PACKET_BYTES)
        error = c_int()
        self._state = self._library.opus_encoder_create(RATE_HZ, 1, _APPLICATION_VOIP, ctypes.byref(error))
        _checked(error.value, "opus_encoder_create")
        try:
            for request, value in (
                (_SET_BITRATE, bitrate_bps), (_SET_COMPLEXITY, complexity), (_SET_FEC, int(fec)),
                (_SET_DTX, int(dtx)), (_SET_SIGNAL, _SIGNAL_VOICE),
            ):  # fmt: skip
                self._control(request, value)
        except OpusError:
            self.close()
            raise

    def encode(self, pcm: Pcm) -> bytes:
        """One packet from `pcm`, shape (`frames`,). With DTX, a packet of at most 2 bytes need not be sent.
        Raises `OpusError` for another length or after `close`."""
        if len(pcm) != self.frames or self._state is None:
            raise OpusError(f"encode takes {self.frames} frames of an open encoder, not {len(pcm)}")
        contiguous = np.ascontiguousarray(pcm, np.int16)
        size = self._library.opus_encode(
            self._state, contiguous.ctypes.data, self.frames, self._packet, _MAX_PACKET_BYTES
        )
        return ctypes.string_at(self._packet, _checked(size, "opus_encode"))

    def set_frame_ms(self, frame_ms: int) -> None:
        """10 or 20, from the next packet on. Its copy of the packet before is only of use if both are equally long."""
        self.frames = RATE_HZ * frame_ms // 1000

    def set_bitrate(self, bitrate_bps: int) -> None:
        """6,000 to 510,000."""
        self._control(_SET_BITRATE, bitrate_bps)

    def expect_loss(self, percent: int) -> None:
        """How much loss the error correction is laid out for, 0 to 100."""
        self._control(_SET_LOSS, max(0, min(100, percent)))

    def set_complexity(self, complexity: int) -> None:
        """0 to 10."""
        self._control(_SET_COMPLEXITY, complexity)

    def reset(self) -> None:
        """Forget the past: what follows is another stream."""
        self._control(_RESET_STATE)

    def _control(self, request: int, *values: int) -> None:
        if self._state is None:
            raise OpusError("the encoder is closed")
        # The value is a variadic argument: it has to be a C int by itself, argtypes do not cover it.
        result = self._library.opus_encoder_ctl(self._state, request, *map(c_int, values))
        _checked(result, f"opus_encoder_ctl {request} {values}")

    def close(self) -> None:
        """Idempotent."""
        state, self._state = self._state, None
        if state is not None:
            self._library.opus_encoder_destroy(state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Decoder:
    """Any Opus stream, to 48 kHz mono (stereo is mixed down by libopus).

    The arrays that are returned are views of one buffer: valid until the next call.
    """

    def __init__(self) -> None:
        """Raises `OpusError` without libopus."""
        self._library = library()
        self._pcm: Pcm = np.zeros(MAX_FRAMES, np.int16)
        self._address = self._pcm.ctypes.data
        error = c_int()
        self._state = self._library.opus_decoder_create(RATE_HZ, 1, ctypes.byref(error))
        _checked(error.value, "opus_decoder_create")

    def decode(self, payload: bytes) -> Pcm:
        """The whole packet, shape (its duration,). Raises `OpusError` for what is no Opus packet."""
        return self._decode(payload, MAX_FRAMES, 0)

    def recover(self, following: bytes, frames: int) -> Pcm:
        """The `frames` (a multiple of 120, 2.5 ms) before the packet `following`, from its error correction; concealed
        where it has none. Raises `OpusError`."""
        return self._decode(following, frames, 1)

    def conceal(self, frames: int) -> Pcm:
        """`frames` (a multiple of 120) extrapolated from what came before, fading. Raises `OpusError`."""
        return self._decode(None, frames, 0)

    def _decode(self, payload: bytes | None, frames: int, fec: int) -> Pcm:
        if self._state is None:
            raise OpusError("the decoder is closed")
        size = len(payload) if payload is not None else 0
        # An empty payload means concealment to libopus, of the whole buffer: it is the caller's mistake here.
        if payload is not None and not size:
            raise OpusError("an empty payload is no Opus packet")
        decoded = self._library.opus_decode(self._state, payload, size, self._address, frames, fec)
        return self._pcm[: _checked(decoded, "opus_decode")]

    def reset(self) -> None:
        """Forget the past: what follows is another stream."""
        if self._state is None:
            raise OpusError("the decoder is closed")
        _checked(self._library.opus_decoder_ctl(self._state, _RESET_STATE), "opus_decoder_ctl reset")

    def close(self) -> None:
        """Idempotent."""
        state, self._state = self._state, None
        if state is not None:
            self._library.opus_decoder_destroy(state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
