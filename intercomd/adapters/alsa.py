"""The sound card through alsa-lib (pyalsaaudio 0.11), behind `ports.SoundCard`.

PCMs are opened non-blocking: pyalsaaudio holds the GIL while it opens, and a blocking read of a dead PCM would never
end. So reads wait in poll(), writes wait by the fill, and both end after `LIMIT_S`. Return values of pyalsaaudio 0.11:
-EPIPE after an xrun, the stream being prepared again and a written block lost; 0 for EAGAIN; all else raises.
"""

import ctypes
import errno
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import alsaaudio
import numpy as np

from intercomd.core.events import Card
from intercomd.media import fill
from intercomd.media.pcm import PERIOD_FRAMES, PERIODS, QUEUED_PERIODS, RATE_HZ, SILENCE, Pcm
from intercomd.ports import CaptureStream, CardError, PlayoutStream

LIMIT_S: Final = 0.5
"""A PCM that does not move for so long is gone."""
_FRAME_BYTES: Final = 2
_PERIOD_BYTES: Final = PERIOD_FRAMES * _FRAME_BYTES
_SHORTEST_WAIT_S: Final = 0.001
"""Under an avail() that stands still, a wait must not become a spin."""
_MIN_BUFFER_FRAMES: Final = (QUEUED_PERIODS + 1) * PERIOD_FRAMES

Direction = Literal["playback", "capture"]


class AlsaCard:
    """PCMs by the names of asound.conf."""

    def open_playout(self, pcm: str) -> PlayoutStream:
        return AlsaPlayout(_open(pcm, "playback"), pcm)

    def open_capture(self, pcm: str) -> CaptureStream:
        return AlsaCapture(_open(pcm, "capture"), pcm)


# ---------------------------------------------------------------------------------------------------- playout


class AlsaPlayout:
    """An open playback PCM, for one thread."""

    def __init__(self, handle: Any, pcm: str) -> None:
        self._handle: Any = handle
        self._pcm = pcm
        self._fill = fill.empty(handle.info()["buffer_size"], time.monotonic())
        self._fresh = True

    def wait(self) -> None:
        if not self._fresh:
            self._await_room(time.monotonic() + LIMIT_S)

    def write(self, period: Pcm) -> int:
        """Returns the frames of silence that were heard in place of sound: the gap of an underrun and the refill."""
        deadline_s = time.monotonic() + LIMIT_S
        block, lost = period.tobytes(), 0
        if self._fresh:
            # The start threshold is one frame: without this the first period plays while the second is made.
            block, self._fresh = SILENCE.tobytes() * (QUEUED_PERIODS - 1) + block, False
        while block:
            queued = self._await_room(deadline_s)
            taken = self._take(block[:_PERIOD_BYTES], queued)
            if taken == -errno.EPIPE:
                lost += self._underrun_frames()
                block = SILENCE.tobytes() * (QUEUED_PERIODS - 1) + block
                continue
            block = block[taken * _FRAME_BYTES :]
            if time.monotonic() > deadline_s and block:
                raise _stuck(self._pcm)
        return lost

    def queued_frames(self) -> int:
        if self._handle is None:
            return 0
        return fill.queued_frames(self._fill, self._handle.avail(), time.monotonic())

    def close(self) -> None:
        handle, self._handle = self._handle, None
        _close(handle)

    def _await_room(self, deadline_s: float) -> int:
        """Sleeps until one period more makes no more than `QUEUED_PERIODS`; returns what is queued then."""
        while True:
            avail, now_s = self._open_handle().avail(), time.monotonic()
            if avail == -errno.EPIPE:  # the xrun is told, and repaired, by the write
                return 0
            if avail < 0:
                raise _gone(self._pcm, os.strerror(-avail))
            queued = fill.queued_frames(self._fill, avail, now_s)
            due_in_s = fill.due_in_s(queued)
            if due_in_s == 0:
                return queued
            if now_s > deadline_s:
                raise _stuck(self._pcm)
            time.sleep(min(max(due_in_s, _SHORTEST_WAIT_S), LIMIT_S))

    def _take(self, block: bytes, queued: int) -> int:
        try:
            taken: int = self._open_handle().write(block)
        except alsaaudio.ALSAAudioError as error:
            raise _gone(self._pcm, str(error)) from error
        now_s = time.monotonic()
        if taken > 0:
            self._fill = fill.wrote(self._fill, queued, taken, now_s)
        elif taken == 0:
            self._fill = fill.refused(self._fill, now_s)
        return taken

    def _underrun_frames(self) -> int:
        now_s = time.monotonic()
        gap = round(fill.dry_s(self._fill, now_s) * RATE_HZ)
        self._fill = fill.empty(self._fill.buffer_frames, now_s, told=self._fill.told)
        return gap + (QUEUED_PERIODS - 1) * PERIOD_FRAMES

    def _open_handle(self) -> Any:
        if self._handle is None:
            raise CardError(Card.MISSING, f"{self._pcm}: the playback PCM is closed")
        return self._handle


# ---------------------------------------------------------------------------------------------------- capture


class AlsaCapture:
    """An open capture PCM, for one thread."""

    def __init__(self, handle: Any, pcm: str) -> None:
        self._handle: Any = handle
        self._pcm = pcm
        self._held = b""
        self._poll = select.poll()
        for fd, events in handle.polldescriptors():
            self._poll.register(fd, events)
        self._read_until_s: float | None = None
        """When the last frame that was read had just been captured."""

    def read(self) -> tuple[Pcm, int]:
        deadline_s = time.monotonic() + LIMIT_S
        lost = 0
        while len(self._held) < _PERIOD_BYTES:
            try:
                frames, block = self._open_handle().read()
            except alsaaudio.ALSAAudioError as error:
                raise _gone(self._pcm, str(error)) from error
            if frames == -errno.EPIPE:
                lost += self._overrun_frames()
            elif frames > 0:
                self._held += block
                self._read_until_s = time.monotonic() - max(0, self._handle.avail()) / RATE_HZ
            else:
                self._await_frames(deadline_s)
        period = np.frombuffer(self._held[:_PERIOD_BYTES], np.int16)
        self._held = self._held[_PERIOD_BYTES:]
        return period, lost

    def close(self) -> None:
        handle, self._handle = self._handle, None
        _close(handle)

    def _await_frames(self, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise _stuck(self._pcm)
        ready = self._poll.poll(left_s * 1000)
        try:
            # Plugins clear their own wake-up in here; without it poll() returns at once for ever.
            revents = self._open_handle().polldescriptors_revents(ready) if ready else 0
        except alsaaudio.ALSAAudioError as error:
            raise _gone(self._pcm, str(error)) from error
        if ready and not revents:
            time.sleep(_SHORTEST_WAIT_S)

    def _overrun_frames(self) -> int:
        """What was captured and never read. The stream starts again with the next read."""
        now_s = time.monotonic()
        since_s = now_s if self._read_until_s is None else self._read_until_s
        self._read_until_s, held, self._held = now_s, len(self._held) // _FRAME_BYTES, b""
        return max(1, round((now_s - since_s) * RATE_HZ) + held)

    def _open_handle(self) -> Any:
        if self._handle is None:
            raise CardError(Card.MISSING, f"{self._pcm}: the capture PCM is closed")
        return self._handle


# ---------------------------------------------------------------------------------------------------- opening


def _open(pcm: str, direction: Direction) -> Any:
    kind = alsaaudio.PCM_PLAYBACK if direction == "playback" else alsaaudio.PCM_CAPTURE
    with _alsa_lib_words() as words:
        try:
            handle = alsaaudio.PCM(
                type=kind,
                mode=alsaaudio.PCM_NONBLOCK,
                device=pcm,
                rate=RATE_HZ,
                channels=1,
                format=alsaaudio.PCM_FORMAT_S16_LE,
                periodsize=PERIOD_FRAMES,
                periods=PERIODS,
            )
        except alsaaudio.ALSAAudioError as error:
            raise refusal(pcm, direction, str(error), words) from error
    complaint = unsuitable(handle.info())
    if complaint:
        _close(handle)
        raise CardError(
            Card.MISSING,
            f"{pcm}: the card grants {complaint}; the station needs 1 channel of S16_LE at {RATE_HZ} Hz in periods of "
            f"{PERIOD_FRAMES} frames. Define the PCM as `type plug` over it in asound.conf, which converts.",
        )
    return handle


def unsuitable(granted: dict[str, Any]) -> str:
    """What is wrong with what alsa-lib granted (pyalsaaudio's setters are all `_near`); empty if nothing is."""
    rate_hz, channels, form = granted["rate"], granted["channels"], granted["format_name"]
    period, buffer = granted["period_size"], granted["buffer_size"]
    if (rate_hz, channels, form) != (RATE_HZ, 1, "S16_LE"):
        return f"{channels} channel(s) of {form} at {rate_hz} Hz"
    if period > PERIOD_FRAMES or buffer < _MIN_BUFFER_FRAMES:
        return f"periods of {period} frames in a buffer of {buffer}"
    return ""


_DENIED: Final = (errno.EACCES, errno.EPERM)


def refusal(
    pcm: str,
    direction: Direction,
    reason: str,
    words: list[str],
    proc: Path = Path("/proc"),
    nodes: Path = Path("/dev/snd"),
) -> CardError:
    """The error for a PCM that did not open. `reason` is alsa-lib's; it begins with strerror(3)'s text, which is all
    that pyalsaaudio hands on of the error number."""
    said = f"{pcm}: {direction} does not open: {reason.split(' [')[0]}"
    if words:
        said += f" ({words[-1]})"
    if reason.startswith(os.strerror(errno.EBUSY)):
        return CardError(Card.BUSY, f"{said}; {_held_by(holders(direction, proc, nodes))}")
    if any(reason.startswith(os.strerror(number)) for number in _DENIED):
        return CardError(Card.DENIED, f"{said}; the user needs the group `audio`")
    # Without permission alsa-lib finds no card by its name at all: snd_card_get_index() gives ENODEV, not EACCES.
    if reason.startswith(os.strerror(errno.ENODEV)) and (barred := barred_nodes(nodes)):
        return CardError(Card.DENIED, f"{said}; {barred[0]} may not be opened: the user needs the group `audio`")
    return CardError(Card.MISSING, f"{said}; compare `aplay -L` with the [audio] table")


def _held_by(names: list[str]) -> str:
    if names:
        return f"held by {', '.join(names)}: end it"
    return "its holder cannot be seen from here: `sudo fuser -v /dev/snd/*` names it"


def holders(direction: Direction, proc: Path, nodes: Path) -> list[str]:
    """Processes that have a PCM node of this direction open, as `name (pid 123)`. Other users' are not visible
    without CAP_SYS_PTRACE."""
    suffix, found = direction[0], []
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
            if any(link.startswith(f"{nodes}/pcm") and link.endswith(suffix) for link in links):
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
    return sorted(found)


def barred_nodes(nodes: Path) -> list[Path]:
    """Control nodes of cards that exist and that this user may not open."""
    return [node for node in sorted(nodes.glob("controlC*")) if not os.access(node, os.R_OK | os.W_OK)]


# ------------------------------------------------------------------------------------------------- in use, closing


def _gone(pcm: str, reason: str) -> CardError:
    said = reason.split(" [")[0]  # alsa-lib's text; pyalsaaudio adds the name
    return CardError(Card.MISSING, f"{pcm}: went away while it was in use: {said}; check its cable and power")


def _stuck(pcm: str) -> CardError:
    return CardError(Card.MISSING, f"{pcm}: has not moved for {LIMIT_S} s; check its cable and power")


def _close(handle: Any) -> None:
    """drop() first: close() drains a playback PCM, up to its whole buffer. Both may fail on a card that is gone.

    alsa-lib's pulse plugin waits in both for its server without a limit, under the GIL: a sound server that hangs (not
    one that ends) stops the process here, and the watchdog restarts it. A real card's drop() is one ioctl."""
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
def _alsa_lib_words() -> Iterator[list[str]]:
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
