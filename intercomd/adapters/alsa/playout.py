"""An open playback PCM: written when it is due, refilled after an xrun, opened again after a suspend."""

import errno
import os
import time
from typing import Any, Final

import alsaaudio

from intercomd.adapters.alsa.faults import LIMIT_S, gone, says, stuck
from intercomd.adapters.alsa.hung import HungPcms
from intercomd.adapters.alsa.opening import Open, close, info
from intercomd.adapters.alsa.shape import ToCard
from intercomd.core.events import Card
from intercomd.media import fill
from intercomd.media.pcm import PERIOD_FRAMES, QUEUED_PERIODS, RATE_HZ, Pcm
from intercomd.ports import CardError

SHORTEST_WAIT_S: Final = 0.001
"""Under an avail() that stands still, a wait must not become a spin."""
_FRESH_S: Final = 0.005
"""For so long after `wait` what it saw is reckoned on: asking a plugin costs a lock and a wake-up."""
_REFILL_FRAMES: Final = (QUEUED_PERIODS - 1) * PERIOD_FRAMES


class AlsaPlayout:
    """For one thread. Raises `CardError` when `open_pcm` does."""

    def __init__(self, open_pcm: Open, pcm: str, hung: HungPcms | None = None) -> None:
        self._open, self._pcm, self._hung = open_pcm, pcm, hung or HungPcms()
        self._handle: Any = None
        self._begin()

    def _begin(self, *, told: bool = True) -> None:
        self._handle, self._shape = self._open()
        self._to_card = ToCard(self._shape)
        buffer_frames = self._shape.ours(info(self._handle)["buffer_size"])
        self._fill = fill.empty(buffer_frames, time.monotonic(), told=told)
        self._fresh = True
        self._seen_s, self._seen_frames = -LIMIT_S, 0

    def wait(self) -> None:
        if not self._fresh:
            self._seen_frames = self._await_room(time.monotonic() + LIMIT_S)
            self._seen_s = time.monotonic()

    def write(self, period: Pcm) -> int:
        """Returns the frames of silence that were heard in place of sound: the gap of an underrun and the refill."""
        deadline_s = time.monotonic() + LIMIT_S
        block, lost = self._to_card.block(period), 0
        if self._fresh:
            # The start threshold is one frame: without this the first period plays while the second is made.
            block, self._fresh = self._refill() + block, False
        while block:
            queued = self._room(deadline_s)
            taken = self._take(block[: self._shape.period_frames * self._shape.frame_bytes], queued)
            if taken == -errno.EPIPE:
                lost += self._silent_frames()
                block = self._refill() + block
                continue
            if taken == -errno.ESTRPIPE:
                lost += self._silent_frames()
                self._open_again()
                block = self._refill() + self._to_card.block(period)
                continue
            block = block[taken * self._shape.frame_bytes :]
            if time.monotonic() > deadline_s and block:
                raise self._stuck()
        return lost

    def queued_frames(self) -> int:
        """By the clock since the last write, which had asked the card."""
        return 0 if self._handle is None else round(fill.reckoned(self._fill, time.monotonic()))

    def close(self) -> None:
        handle, self._handle = self._handle, None
        close(handle)

    def _refill(self) -> bytes:
        return self._shape.silence(_REFILL_FRAMES)

    def _room(self, deadline_s: float) -> int:
        """What is queued; sleeps until a period more has room where `wait` has not just done so. Once for each wait."""
        since_s, self._seen_s = time.monotonic() - self._seen_s, -LIMIT_S
        if since_s < _FRESH_S:
            return max(0, self._seen_frames - round(since_s * RATE_HZ))
        return self._await_room(deadline_s)

    def _await_room(self, deadline_s: float) -> int:
        """Sleeps until one period more makes no more than `QUEUED_PERIODS`; returns what is queued then."""
        while True:
            avail, now_s = self._open_handle().avail(), time.monotonic()
            if avail in (-errno.EPIPE, -errno.ESTRPIPE):  # told, and repaired, by the write
                return 0
            if avail < 0:
                raise gone(self._pcm, os.strerror(-avail))
            queued = fill.queued_frames(self._fill, self._shape.ours(avail), now_s)
            due_in_s = fill.due_in_s(queued)
            if due_in_s == 0:
                return queued
            if now_s > deadline_s:
                raise self._stuck()
            time.sleep(min(max(due_in_s, SHORTEST_WAIT_S), LIMIT_S))

    def _take(self, block: bytes, queued: int) -> int:
        try:
            taken: int = self._open_handle().write(block)
        except alsaaudio.ALSAAudioError as error:
            if says(str(error), errno.ESTRPIPE):
                return -errno.ESTRPIPE
            raise gone(self._pcm, str(error)) from error
        now_s = time.monotonic()
        if taken > 0:
            self._fill = fill.wrote(self._fill, queued, self._shape.ours(taken), now_s)
        elif taken == 0:
            self._fill = fill.refused(self._fill, now_s)
        return taken

    def _silent_frames(self) -> int:
        """The gap until now, and the refill. After an xrun pyalsaaudio has prepared the PCM again."""
        now_s = time.monotonic()
        gap = round(fill.dry_s(self._fill, now_s) * RATE_HZ)
        self._fill = fill.empty(self._fill.buffer_frames, now_s, told=self._fill.told)
        return gap + _REFILL_FRAMES

    def _open_again(self) -> None:
        """After a suspend (-ESTRPIPE): not every driver can resume, and pyalsaaudio has no snd_pcm_resume()."""
        told = self._fill.told
        self.close()
        self._begin(told=told)
        self._fresh = False

    def _stuck(self) -> CardError:
        handle, self._handle = self._handle, None
        self._hung.leave(self._pcm, "playback", handle)
        return stuck(self._pcm)

    def _open_handle(self) -> Any:
        if self._handle is None:
            raise CardError(Card.MISSING, f"{self._pcm}: the playback PCM is closed")
        return self._handle
