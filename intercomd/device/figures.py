"""A call's figures over all its connections, the station's own among them: what hub, record, status and journal get."""

import time
from collections.abc import Callable
from typing import Protocol

from intercomd.core.vocabulary import Metrics
from intercomd.ids import CallId
from intercomd.media.canceller import VoiceStatus
from intercomd.media.quality import Here, added, completed
from intercomd.ports import Levels

_LEAST_S = 1.0
"""The processor's share of less time says nothing."""


class Connection(Protocol):
    """Of `ports.Media`, what is read here."""

    def metrics(self) -> Metrics | None: ...
    @property
    def drift_ppm(self) -> float: ...
    @property
    def packet_s(self) -> float: ...


class Sound(Protocol):
    """Of the audio engine, what is read here."""

    def levels(self) -> Levels: ...
    @property
    def voice(self) -> VoiceStatus: ...


class CallFigures:
    """For the event loop. `follow` the station's call; `read` as often as one likes."""

    def __init__(
        self,
        media: Connection,
        sound: Sound,
        now_s: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """`cpu_s`: the process's."""
        self._media, self._sound, self._now_s, self._cpu_s = media, sound, now_s, cpu_s
        self._earlier: Metrics | None = None
        self._last: Metrics | None = None
        self._begin(None)

    def follow(self, call_id: CallId | None) -> None:
        """Another call begins its figures anew; the last one's stay readable until then."""
        if call_id is not None and call_id != self._call_id:
            self._begin(call_id)

    def read(self) -> Metrics | None:
        """None while the call has had no connection. Between two connections, and after the last one: as it was."""
        now = self._media.metrics()
        if now is None:
            total = self._so_far()
        else:
            if self._is_another(now):
                self._earlier, self._last = self._so_far(), None
            if now.connection_time is not None:
                self._last = now
            total = now if self._earlier is None else added(self._earlier, now)
        return None if total is None else completed(total, self._here())

    def _begin(self, call_id: CallId | None) -> None:
        self._call_id = call_id
        self._earlier = self._last = None
        self._began_s, self._began_cpu_s = self._now_s(), self._cpu_s()
        self._began_xruns = self._sound.levels().xruns

    def _is_another(self, now: Metrics) -> bool:
        """Not the connection that was read last. No two take equally long to come up."""
        return self._last is not None and now.connection_time != self._last.connection_time

    def _so_far(self) -> Metrics | None:
        if self._earlier is None or self._last is None:
            return self._last or self._earlier
        return added(self._earlier, self._last)

    def _here(self) -> Here:
        levels = self._sound.levels()
        elapsed_s = self._now_s() - self._began_s
        return Here(
            queued_s=levels.playout_queued_ms / 1000,
            packet_s=self._media.packet_s,
            erle_db=self._sound.voice.erle_db,
            xruns=max(0, levels.xruns - self._began_xruns),
            drift_ppm=self._media.drift_ppm,
            cpu_ratio=(self._cpu_s() - self._began_cpu_s) / elapsed_s if elapsed_s >= _LEAST_S else None,
        )
