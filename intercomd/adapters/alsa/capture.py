"""An open capture PCM: whole periods, what an overrun cost, opened again after a suspend."""

import errno
import select
import time
from typing import Any

import alsaaudio

from intercomd.adapters.alsa.faults import LIMIT_S, gone, says, stuck
from intercomd.adapters.alsa.hung import HungPcms
from intercomd.adapters.alsa.opening import Open, close
from intercomd.adapters.alsa.playout import SHORTEST_WAIT_S
from intercomd.adapters.alsa.shape import FromCard
from intercomd.core.events import Card
from intercomd.media.pcm import RATE_HZ, Pcm
from intercomd.ports import CardError


class AlsaCapture:
    """For one thread. Raises `CardError` when `open_pcm` does."""

    def __init__(self, open_pcm: Open, pcm: str, hung: HungPcms | None = None) -> None:
        self._open, self._pcm, self._hung = open_pcm, pcm, hung or HungPcms()
        self._handle: Any = None
        self._read_until_s: float | None = None
        """When the last frame that was read had just been captured."""
        self._begin()

    def _begin(self) -> None:
        self._handle, self._shape = self._open()
        self._from_card = FromCard(self._shape)
        self._drained = False
        """Nothing was left at the last look: to read before anything has come costs as much as to read."""
        self._poll = select.poll()
        for fd, events in self._handle.polldescriptors():
            self._poll.register(fd, events)

    def read(self) -> tuple[Pcm, int]:
        deadline_s = time.monotonic() + LIMIT_S
        lost = 0
        while (period := self._from_card.period()) is None:
            if self._drained:
                self._drained = False
                self._await_frames(deadline_s)
            frames, block = self._next_block()
            if frames in (-errno.EPIPE, -errno.ESTRPIPE):
                lost += self._lost_frames(suspended=frames == -errno.ESTRPIPE)
            elif frames > 0:
                self._from_card.put(block)
                left = max(0, self._handle.avail())
                self._drained = not left
                self._read_until_s = time.monotonic() - left / self._shape.rate_hz
            else:
                self._await_frames(deadline_s)
        return period, lost

    def close(self) -> None:
        handle, self._handle = self._handle, None
        close(handle)

    def _next_block(self) -> tuple[int, bytes]:
        try:
            frames, block = self._open_handle().read()
        except alsaaudio.ALSAAudioError as error:
            if says(str(error), errno.ESTRPIPE):
                return -errno.ESTRPIPE, b""
            raise gone(self._pcm, str(error)) from error
        return frames, block

    def _await_frames(self, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise self._stuck()
        ready = self._poll.poll(left_s * 1000)
        try:
            # Plugins clear their own wake-up in here; without it poll() returns at once for ever.
            revents = self._open_handle().polldescriptors_revents(ready) if ready else 0
        except alsaaudio.ALSAAudioError as error:
            raise gone(self._pcm, str(error)) from error
        if ready and not revents:
            time.sleep(SHORTEST_WAIT_S)

    def _lost_frames(self, *, suspended: bool) -> int:
        """What was captured, or would have been, and is never read. After an xrun the stream starts again with the next
        read; after a suspend (-ESTRPIPE) the PCM is opened anew."""
        dropped = self._from_card.forget()
        if suspended:
            self.close()
            self._begin()
        now_s = time.monotonic()
        since_s = now_s if self._read_until_s is None else self._read_until_s
        self._read_until_s = now_s
        return max(1, round((now_s - since_s) * RATE_HZ) + dropped)

    def _stuck(self) -> CardError:
        handle, self._handle = self._handle, None
        self._hung.leave(self._pcm, "capture", handle)
        return stuck(self._pcm)

    def _open_handle(self) -> Any:
        if self._handle is None:
            raise CardError(Card.MISSING, f"{self._pcm}: the capture PCM is closed")
        return self._handle
