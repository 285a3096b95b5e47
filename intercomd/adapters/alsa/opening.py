"""Opening and closing PCMs with what the card grants."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import alsaaudio

from intercomd.adapters.alsa.faults import Direction, refusal
from intercomd.adapters.alsa.shape import Shape, convertible, granted_shape
from intercomd.core.events import Card
from intercomd.media.pcm import PERIOD_FRAMES, PERIODS, QUEUED_PERIODS
from intercomd.ports import CardError

_MIN_BUFFER_FRAMES: Final = (QUEUED_PERIODS + 1) * PERIOD_FRAMES
_KEYS: Final[set[str]] = set()

Opened = tuple[Any, Shape]
"""An open PCM and the shape of its audio."""
Open = Callable[[], Opened]


def opened(pcm: str, direction: Direction, shape: Shape) -> Opened:
    """pyalsaaudio's setters ask for what is near and say nothing, so what was granted is looked at; a card of another
    rate is opened once more, for periods of 10 ms at that rate. Raises `CardError`."""
    handle = _opened(pcm, direction, shape)
    granted = info(handle)
    if granted_shape(granted) != shape and convertible(granted_shape(granted)):
        close(handle)
        handle = _opened(pcm, direction, granted_shape(granted))
        granted = info(handle)
    complaint = unsuitable(granted)
    if complaint:
        close(handle)
        raise CardError(
            Card.MISSING,
            f"{pcm}: the card grants {complaint}; the station needs periods of 10 ms of 16, 24 or 32 bit at 8 kHz or "
            "more, best 16 bit at 48 kHz. Define the PCM as `type plug` over it in asound.conf, which converts.",
        )
    return handle, granted_shape(granted)


def info(handle: Any) -> dict[str, Any]:
    """What alsa-lib granted. Its keys are kept for good: CPython interns them, and would otherwise do so anew for each
    PCM that is opened, until its table of all interned names, 0.9 MB, is made anew at twice the size."""
    granted: dict[str, Any] = handle.info()
    _KEYS.update(map(sys.intern, granted))
    return granted


def unsuitable(granted: dict[str, Any]) -> str:
    """What is wrong with what alsa-lib granted; empty if it will do."""
    shape = granted_shape(granted)
    if not convertible(shape):
        return str(shape)
    period, buffer = granted["period_size"], granted["buffer_size"]
    if period > shape.period_frames or shape.ours(buffer) < _MIN_BUFFER_FRAMES:
        return f"periods of {period} frames in a buffer of {buffer}"
    return ""


def _opened(pcm: str, direction: Direction, shape: Shape) -> Any:
    with alsa_lib_words() as words:
        try:
            return alsaaudio.PCM(
                type=alsaaudio.PCM_PLAYBACK if direction == "playback" else alsaaudio.PCM_CAPTURE,
                mode=alsaaudio.PCM_NONBLOCK,
                device=pcm,
                rate=shape.rate_hz,
                channels=shape.channels,
                format=getattr(alsaaudio, f"PCM_FORMAT_{shape.sample}"),
                periodsize=shape.period_frames,
                periods=PERIODS,
            )
        except alsaaudio.ALSAAudioError as error:
            raise refusal(pcm, direction, str(error), words) from error


def close(handle: Any) -> None:
    """drop() first: close() drains a playback PCM, up to its whole buffer. Both may fail on a card that is gone.

    Neither may be called on a PCM that hangs: `hung.py`."""
    if handle is not None:
        with suppress(alsaaudio.ALSAAudioError):
            handle.drop()
        with suppress(alsaaudio.ALSAAudioError):
            handle.close()


# ---------------------------------------------------------------------------------------------- alsa-lib's words

_Listener = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
)


@contextmanager
def alsa_lib_words() -> Iterator[list[str]]:
    """Collects what alsa-lib says in this thread instead of letting it fill stderr, and with it the journal, at every
    attempt to find a missing card (snd_lib_error_set_local() is per thread)."""
    words: list[str] = []
    libasound, libc = ctypes.CDLL("libasound.so.2"), ctypes.CDLL(None)

    def listen(_file: bytes, _line: int, _function: bytes, _err: int, form: bytes, arguments: int | None) -> None:
        # va_list arrives, and is handed on, as one pointer-sized word on x86-64, aarch64 and 32-bit arm alike.
        text = ctypes.create_string_buffer(256)
        libc.vsnprintf(text, ctypes.c_size_t(256), form, ctypes.c_void_p(arguments))
        words.append(text.value.decode(errors="replace").strip())

    listener = _Listener(listen)
    set_local = libasound.snd_lib_error_set_local
    set_local.argtypes, set_local.restype = [ctypes.c_void_p], ctypes.c_void_p
    before = set_local(ctypes.cast(listener, ctypes.c_void_p))
    try:
        yield words
    finally:
        set_local(before)
