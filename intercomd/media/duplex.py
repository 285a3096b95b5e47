"""Half duplex: who speaks is heard, the other waits. The way of intercoms without an echo canceller.

While the far end speaks the microphone is turned down; a near end that is clearly louder than the echo could be breaks
in and keeps the line while it goes on. Gains move in ramps over a period or more, so that nothing clicks.
"""

from typing import Final

import numpy as np

from intercomd.media.erle import Talk
from intercomd.media.pcm import PERIOD_FRAMES, Pcm

DUCKED: Final = 0.01
"""−40 dB: enough for an echo, and the line does not sound dead."""
_HANG_PERIODS: Final = 12
"""Beyond the talk's own tail: gaps between words do not open the microphone."""
_BREAK_IN_PERIODS: Final = 3
"""A door that slams is no word."""
_KEEPS_PERIODS: Final = 30
_OPENING: Final = 0.2
"""Of full gain per period: open within 50 ms, shut within one period."""


class HalfDuplex:
    """For the capture thread."""

    def __init__(self) -> None:
        self._gain = 1.0
        self._hang = 0
        self._near = 0
        self._keeps = 0

    @property
    def ducked(self) -> bool:
        """The far end has the line."""
        return self._hang > 0 and self._keeps == 0

    def __call__(self, period: Pcm, talk: Talk, *, active: bool) -> Pcm:
        """The period as it is sent. `active`: half duplex is needed now; if not, the way stays open."""
        self._follow(talk)
        target = DUCKED if active and self.ducked else 1.0
        if self._gain == target == 1.0:
            return period
        start = self._gain
        self._gain = target if target < start else min(target, start + _OPENING)
        ramp = np.linspace(start, self._gain, PERIOD_FRAMES, dtype=np.float32)
        return (period * ramp).astype(np.int16)

    def _follow(self, talk: Talk) -> None:
        self._hang = _HANG_PERIODS if talk.far else max(0, self._hang - 1)
        self._near = min(_BREAK_IN_PERIODS, self._near + 1) if talk.near else max(0, self._near - 1)
        if self._near == _BREAK_IN_PERIODS:
            self._keeps = _KEEPS_PERIODS
        else:
            self._keeps = max(0, self._keeps - 1)
