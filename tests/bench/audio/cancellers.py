"""The contenders for the echo, each behind the same two calls: `period` by `period`, captured and reference.

Ours goes the whole way of the daemon, with its alignment of played and captured; speexdsp is the peer,
as it is used everywhere: canceller and residual echo suppressor, 200 ms, through ctypes.
"""

import ctypes
import ctypes.util
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import numpy as np

from intercomd.adapters.livekit_apm import load_livekit
from intercomd.media.canceller import Canceller
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from intercomd.media.processing import Switches, VoiceProcessing
from tests.bench.report import Peer

_TAIL_MS: Final = 200
NO_SPEEX: Final = Peer(None, reason="libspeexdsp1 is not installed: apt install libspeexdsp1")


class Contender(Protocol):
    """`play` and `hear` in the order in which a card's two threads would come."""

    def play(self, period: Pcm) -> None: ...
    def hear(self, period: Pcm) -> Pcm: ...
    def close(self) -> None: ...


class Ours:
    """The daemon's voice processing."""

    def __init__(self, switches: Switches) -> None:
        loaded: list[Canceller] = []

        def load(*, echo: bool, noise: bool, gain: bool) -> Canceller:
            loaded.append(load_livekit(echo=echo, noise=noise, gain=gain))
            return loaded[0]

        self.voice = VoiceProcessing(switches, load if switches.engine == "livekit" else None)
        self.voice.start()
        self.voice.wait_loaded(30)
        self.voice.begin("bench")

    def play(self, period: Pcm) -> None:
        self.voice.played(period)

    def hear(self, period: Pcm) -> Pcm:
        return self.voice.captured(period)

    def close(self) -> None:
        self.voice.close()


class Nothing:
    """What the far end hears without any processing."""

    def play(self, period: Pcm) -> None: ...

    def hear(self, period: Pcm) -> Pcm:
        return period

    def close(self) -> None: ...


class Speex:
    """libspeexdsp 1.2: speex_echo.h and speex_preprocess.h."""

    _SET_RATE, _SET_ECHO_STATE, _SET_DENOISE = 24, 24, 0

    def __init__(self, *, denoise: bool = False) -> None:
        library = speexdsp()
        assert library is not None
        self._library = library
        self._echo = library.speex_echo_state_init(PERIOD_FRAMES, RATE_HZ * _TAIL_MS // 1000)
        self._rest = library.speex_preprocess_state_init(PERIOD_FRAMES, RATE_HZ)
        library.speex_echo_ctl(self._echo, self._SET_RATE, ctypes.byref(ctypes.c_int(RATE_HZ)))
        library.speex_preprocess_ctl(self._rest, self._SET_DENOISE, ctypes.byref(ctypes.c_int(denoise)))
        library.speex_preprocess_ctl(self._rest, self._SET_ECHO_STATE, self._echo)
        self._played: list[Pcm] = []

    def play(self, period: Pcm) -> None:
        self._played.append(period)

    def hear(self, period: Pcm) -> Pcm:
        reference = self._played.pop(0) if self._played else np.zeros(PERIOD_FRAMES, np.int16)
        out = np.empty(PERIOD_FRAMES, np.int16)
        heard, known = np.ascontiguousarray(period), np.ascontiguousarray(reference)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (heard, known, out))
        self._library.speex_echo_cancellation(self._echo, *pointers)
        self._library.speex_preprocess_run(self._rest, ctypes.c_void_p(out.ctypes.data))
        return out

    def close(self) -> None:
        self._library.speex_preprocess_state_destroy(self._rest)
        self._library.speex_echo_state_destroy(self._echo)


class SpeexPreprocessor:
    """Its noise suppression and its automatic gain alone, at their defaults (−15 dB; to a level of 8000)."""

    _SET_DENOISE, _SET_AGC = 0, 2

    def __init__(self, *, denoise: bool = False, gain: bool = False) -> None:
        library = speexdsp()
        assert library is not None
        self._library = library
        self._state = library.speex_preprocess_state_init(PERIOD_FRAMES, RATE_HZ)
        for request, wanted in ((self._SET_DENOISE, denoise), (self._SET_AGC, gain)):
            library.speex_preprocess_ctl(self._state, request, ctypes.byref(ctypes.c_int(wanted)))

    def play(self, period: Pcm) -> None: ...

    def hear(self, period: Pcm) -> Pcm:
        out = period.copy()
        self._library.speex_preprocess_run(self._state, ctypes.c_void_p(out.ctypes.data))
        return out

    def close(self) -> None:
        self._library.speex_preprocess_state_destroy(self._state)


def speexdsp() -> ctypes.CDLL | None:
    """The library, or None where it is not installed."""
    with suppress(OSError):
        library = ctypes.CDLL("libspeexdsp.so.1")
        pointer = ctypes.c_void_p
        library.speex_echo_state_init.restype = library.speex_preprocess_state_init.restype = pointer
        library.speex_echo_ctl.argtypes = library.speex_preprocess_ctl.argtypes = [pointer, ctypes.c_int, pointer]
        library.speex_echo_cancellation.argtypes = [pointer, pointer, pointer, pointer]
        library.speex_preprocess_run.argtypes = [pointer, pointer]
        library.speex_echo_state_destroy.argtypes = library.speex_preprocess_state_destroy.argtypes = [pointer]
        return library
    return None


Make = Callable[[], Contender]
