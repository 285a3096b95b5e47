"""PCMs whose card or sound server neither moves nor fails, kept from taking the process with them.

Measured with a PulseAudio that was stopped by SIGSTOP: snd_pcm_drop(), snd_pcm_close() and snd_pcm_open() of alsa-lib's
pulse plugin wait for the server without a limit, and pyalsaaudio holds the GIL in all three: the event loop, and with
it a call's packets, would stand still until the watchdog ends the process. So a PCM that hangs is left alone, and
before it is opened again a thread of its own asks alsa-lib through ctypes, which releases the GIL, whether opening
comes back at all. Once it does, what was left is closed.
"""

import ctypes
import threading
from typing import Any, Final

from intercomd.adapters.alsa.faults import Direction
from intercomd.adapters.alsa.opening import alsa_lib_words, close
from intercomd.core.events import Card
from intercomd.ports import CardError

PROBE_LIMIT_S: Final = 0.3
_STREAMS: Final = {"playback": 0, "capture": 1}
_NONBLOCK: Final = 1


class HungPcms:
    """For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[tuple[str, Direction], list[Any]] = {}
        self._probes: dict[tuple[str, Direction], threading.Thread] = {}

    def leave(self, pcm: str, direction: Direction, handle: Any) -> None:
        """It hangs: neither drop nor close it now."""
        # Nor may the interpreter's end do so, which would then never come.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))
        with self._lock:
            self._left.setdefault((pcm, direction), []).append(handle)

    def admit(self, pcm: str, direction: Direction) -> None:
        """Returns at once for a PCM that never hung. Raises `CardError` after `PROBE_LIMIT_S` while it still does."""
        key = (pcm, direction)
        with self._lock:
            if key not in self._left:
                return
            probe = self._probes.get(key)
            if probe is None:
                probe = threading.Thread(target=_probe, args=key, name=f"probe {pcm}", daemon=True)
                self._probes[key] = probe
                probe.start()
        probe.join(PROBE_LIMIT_S)
        if probe.is_alive():
            raise CardError(
                Card.MISSING, f"{pcm}: {direction} hangs while it opens; restart the sound server or replug the card"
            )
        with self._lock:
            del self._probes[key]
            left = self._left.pop(key)
        for handle in left:
            close(handle)


def _probe(pcm: str, direction: Direction) -> None:
    """Opens and closes it. Whether that works is found out by the real opening; here it only has to end."""
    libasound, handle = ctypes.CDLL("libasound.so.2"), ctypes.c_void_p()
    with alsa_lib_words():
        if libasound.snd_pcm_open(ctypes.byref(handle), pcm.encode(), _STREAMS[direction], _NONBLOCK) == 0:
            libasound.snd_pcm_close(handle)
