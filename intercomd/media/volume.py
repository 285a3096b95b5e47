"""How loud: from a person's 0 to 100 to a gain, and gains that change without a click."""

import numpy as np

from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm

STEP_DB = 0.4
"""Per point: loudness is heard in ratios, so equal points sound equally far apart. 1 is −39.6 dB, a whisper beside
100."""


def gain_of(percent: int) -> float:
    """1.0 at 100, 0.0 at 0."""
    return 10.0 ** (-STEP_DB * (100 - percent) / 20.0) if percent > 0 else 0.0


class Fader:
    """`wanted` may be set from any thread; the rest belongs to one."""

    def __init__(self) -> None:
        self.wanted = 1.0
        self._gain = 1.0
        self._is_heard = False

    def period_over(self) -> None:
        """After each period. Where nothing sounded in it, what comes next begins at the wanted gain: a slope from the
        former one would let a ring that is switched off be heard for a moment."""
        if not self._is_heard:
            self._gain = self.wanted
        self._is_heard = False

    def faded(self, period: Pcm) -> Pcm:
        """The period, shape (480,), at the wanted gain, reached within it; as it is where nothing is to be changed."""
        self._is_heard = True
        gain, self._gain = self._gain, self.wanted
        if period is SILENCE or (gain == 1.0 and self._gain == 1.0):
            return period
        if self._gain == gain == 0.0:
            return SILENCE
        slope = np.linspace(gain, self._gain, PERIOD_FRAMES, dtype=np.float32)
        faded: Pcm = np.rint(period * slope).astype(np.int16)
        return faded
