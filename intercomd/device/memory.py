"""Memory that a call leaves behind goes back when it is over.

A peer connection is a knot of reference cycles. The collector's full pass comes late (only after a quarter more
long-lived objects), and glibc keeps freed pages: unhelped, the process grows by some 30 KiB a call. After `gc.freeze`
a full pass takes well under a millisecond, but not while somebody talks.

CPython's cache of attributes holds the name that it was last asked for in each of its 4096 places, and C code asks with
a new string each time: they keep pools of memory from going that are empty otherwise.
"""

import asyncio
import ctypes
import gc
import sys

AFTER_S = 0.25
"""From the end of a call. Calls in a row leave no long pause: at 2.5 s the sweep came after few of them, and 200 calls
grew by 0.9 to 1.2 % instead of 0.4. What a slow server keeps open is swept after the next call."""


class Tidying:
    """Collects and trims once after each call, when the station has stayed idle; where the next call came too soon for
    that, at its end for the one before. On the event loop."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._was_busy = False
        self._owed = False
        """A call has left its garbage to the next one: never to more, or memory grows by the longest row of calls."""
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # malloc_trim(3), glibc only
        # The second is its name before Python 3.13.
        names = ("_clear_internal_caches", "_clear_type_cache")
        self._clear = next(filter(None, (getattr(sys, name, None) for name in names)), None)

    def follow(self, is_idle: bool) -> None:
        """After each change of the station's state."""
        if is_idle and self._was_busy and self._timer is None:
            if self._owed:
                self._sweep()
            self._timer = asyncio.get_running_loop().call_later(AFTER_S, self._tidy)
        elif not is_idle and self._timer is not None:
            self.close()
            self._owed = True
        self._was_busy = self._was_busy or not is_idle

    def _tidy(self) -> None:
        self._timer = None
        self._was_busy = False
        self._sweep()

    def _sweep(self) -> None:
        self._owed = False
        gc.collect()
        if self._clear is not None:
            self._clear()
        if self._trim is not None:
            self._trim(ctypes.c_size_t(0))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
