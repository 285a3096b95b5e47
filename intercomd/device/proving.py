"""An installer proves the station (`intercomctl commission`): meanwhile its buttons only show that they are felt, one
LED at a time is lit, and its loudspeaker is listened to through its own microphone.

Whoever rings comes first: a call ends it at once.
"""

import asyncio
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Protocol

from intercomd.core.effects import Jingle, Light
from intercomd.core.events import Card
from intercomd.core.station import Station
from intercomd.ports import Levels

PROVING_S = 60.0
"""For so long after an order; an installer who has gone leaves a station that works."""
LOOK_S = 0.05
SETTLED_S = 0.4
"""A microphone that has just been opened may click."""
SOUNDS_S = (1.2, 1.6, 2.0)
END_S = 2.6
OPEN_LIMIT_S = 3.0


class Ears(Protocol):
    """What is needed of the engine."""

    def open_microphone(self) -> None: ...
    def close_microphone(self) -> None: ...
    def play(self, jingle: Jingle) -> None: ...
    def levels(self) -> Levels: ...


class Proving:
    """On the event loop. `changed()` is called when panel or status may show something else."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ears: Callable[[], Ears], changed: Callable[[], None]) -> None:
        self._loop, self._ears, self._changed = loop, ears, changed
        self._until_s = float("-inf")
        self._led = ""
        self._listening: _Listening | None = None
        self._heard: dict[str, Any] = {"state": "none"}

    @property
    def active(self) -> bool:
        """Presses do not count."""
        return self._loop.time() < self._until_s

    def command(self, order: Mapping[str, Any], station: Station) -> str | None:
        """Take `{"led": NAME}` (no name: none is lit), `{"sound": true}` or `{"end": true}`; what keeps it from being
        done, or None."""
        if order.get("end") is True:
            self.end()
            return None
        if station.call is not None:
            return "this station is in a call"
        if order.get("sound") is True and station.card is not Card.READY:
            return "the sound card is not ready"
        self._until_s = self._loop.time() + PROVING_S
        self._led = str(order.get("led") or "")
        if order.get("sound") is True and self._listening is None:
            self._heard = {"state": "listening"}
            self._listening = _Listening(self._loop, self._ears(), self._listened)
        self._changed()
        return None

    def end(self) -> None:
        """Idempotent."""
        if self._listening is not None:
            self._listening.close()
            self._listening, self._heard = None, {"state": "none"}
        if self.active:
            self._until_s = float("-inf")
            self._changed()

    def lights(self, shown: Mapping[str, Light]) -> dict[str, Light]:
        """What the panel is to show; the microphone's LED never says anything but the truth."""
        if not self.active:
            return dict(shown)
        proven = {led: Light.ON if led == self._led else Light.OFF for led in shown}
        return proven | {led: light for led, light in shown.items() if led == "microphone"}

    def status(self) -> dict[str, Any]:
        return {"active": self.active, "sound": self._heard}

    def _listened(self, quiet_dbfs: float | None, sound_dbfs: float | None) -> None:
        self._listening = None
        if quiet_dbfs is None or sound_dbfs is None:
            self._heard = {"state": "failed"}
        else:
            self._heard = {"state": "heard", "quiet_dbfs": round(quiet_dbfs, 1), "sound_dbfs": round(sound_dbfs, 1)}
        self._changed()


class _Listening:
    """A melody three times, and how loud the microphone is before and during it. `ended(before, during)` in dBFS, None
    where the microphone did not open."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ears: Ears, ended: Callable[[float | None, float | None], None]
    ) -> None:
        self._loop, self._ears, self._ended = loop, ears, ended
        self._deadline_s = loop.time() + OPEN_LIMIT_S
        self._open_s: float | None = None
        self._quiet: list[float] = []
        self._sound: list[float] = []
        self._due_s = list(SOUNDS_S)
        ears.open_microphone()
        self._timer = loop.call_later(LOOK_S, self._look)

    def close(self) -> None:
        self._timer.cancel()
        self._ears.close_microphone()

    def _look(self) -> None:
        now_s, levels = self._loop.time(), self._ears.levels()
        if self._open_s is None and levels.capture_open:
            self._open_s = now_s
        if self._open_s is not None:
            self._at(now_s - self._open_s, levels)
        if now_s < self._deadline_s if self._open_s is None else levels.capture_open and now_s < self._open_s + END_S:
            self._timer = self._loop.call_later(LOOK_S, self._look)
            return
        self.close()
        self._ended(median(self._quiet) if self._quiet else None, max(self._sound, default=None))

    def _at(self, since_s: float, levels: Levels) -> None:
        """`since_s`: since the microphone opened."""
        if self._due_s and since_s >= self._due_s[0]:
            self._due_s.pop(0)
            self._ears.play(Jingle.RESTORED)
        if len(self._due_s) < len(SOUNDS_S):
            self._sound.append(levels.capture_dbfs)
        elif since_s >= SETTLED_S:
            self._quiet.append(levels.capture_dbfs)
