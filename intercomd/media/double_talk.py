"""Both ends at once: then the near end comes from the linear canceller, which leaves it as it is; else from the engine,
which leaves no echo. From one to the other by a ramp, both at the same delay.
"""

from typing import Final

import numpy as np

from intercomd.media.erle import Talk
from intercomd.media.linear import LinearCanceller
from intercomd.media.narrow import LATE_FRAMES, Wave, Widener
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

LEAST_LATE_FRAMES: Final = 2 * LATE_FRAMES
"""1 ms: what the way to 16 kHz and back takes; AEC3 takes nine times that."""
_MOST_LATE_FRAMES: Final = RATE_HZ * 40 // 1000
_NEAR_DB: Final = -8.0
"""What is left, against the echo: −20 dB where only the far end speaks, more than this is a near end, unless the engine
says that there is none (a stairwell rings on for longer than the filter is)."""
_BELOW_USUAL_DB: Final = 12.0
_ABOVE_NOISE_DB: Final = 9.0
_FLOOR_RISE_DB: Final = 0.02
_DECAY_DB: Final = 0.9
_ALIKE: Final = 0.15
"""Beyond, what is left is an echo that the filter does not know: a person who walked, a slip of the card."""
_ALIKE_SMOOTHING: Final = 0.1
_PROVEN_DB: Final = 10.0
_SEEN_PERIODS: Final = 3
"""In a row: single periods are mistaken at the edges of words."""
_HANG_PERIODS: Final = 60
"""Who has begun to speak goes on: quiet syllables are the near end's as well, and the engine would swallow them. It is
what the near end's intelligibility rests on (STOI at 0 dB of 20 rooms and voices: .80 with 15 periods, .93 with 60)."""
_FADE: Final = 0.5
_MOST_GAIN_DB: Final = 20.0


class DoubleTalk:
    """For the capture thread."""

    def __init__(self, late_frames: int) -> None:
        """`late_frames`: by how much the engine's near end comes later than it was captured, `LEAST_LATE_FRAMES` at
        least (the linear one's comes as late as that in any case)."""
        self.linear = LinearCanceller()
        self._widener = Widener()
        self._captured: Wave = np.zeros(LEAST_LATE_FRAMES + PERIOD_FRAMES, np.float32)
        waiting = max(0, min(late_frames, _MOST_LATE_FRAMES) - LEAST_LATE_FRAMES)
        self._left: Wave = np.zeros(waiting + PERIOD_FRAMES, np.float32)
        self._floor_db = 200.0
        self._echo_db = 0.0
        self._alike = 1.0
        self._taken_db = self._usual_db = 0.0
        self._hang = self._seen = 0
        self._share = 0.0

    @property
    def both(self) -> bool:
        """Both ends speak, as the linear canceller hears it."""
        return self._hang > 0

    def blend(self, captured: Pcm, narrow: Wave, sent: Pcm, talk: Talk, *, trusted: bool, gain_db: float) -> Pcm:
        """The period to send. `narrow` is `captured` and the reference at 16 kHz, shape (2, 160); `sent` is the
        engine's; `trusted`: nothing speaks against using the other now; `gain_db`: what automatic gain does to a near
        end."""
        self._take(captured, self.linear.process(narrow[0], narrow[1]))
        self._follow(talk)
        start, target = self._share, 1.0 if trusted and self._hang else 0.0
        if start == target == 0.0:
            return sent
        self._share = min(target, start + _FADE) if target > start else max(target, start - _FADE / 3)
        ramp = np.linspace(start, self._share, PERIOD_FRAMES, dtype=np.float32)
        gained = self._left[:PERIOD_FRAMES] * np.float32(10 ** (max(0.0, min(gain_db, _MOST_GAIN_DB)) / 20))
        mixed: Pcm = (sent + ramp * (gained - sent)).clip(-32768, 32767).astype(np.int16)
        return mixed

    def _take(self, captured: Pcm, echo: Wave) -> None:
        """What is left goes to the end of its line. The echo is taken away below 7 kHz, what is above it stays: the
        near end keeps its full width."""
        heard, left = self._captured, self._left
        heard[:LEAST_LATE_FRAMES] = heard[PERIOD_FRAMES:]
        heard[LEAST_LATE_FRAMES:] = captured
        left[:-PERIOD_FRAMES] = left[PERIOD_FRAMES:]
        np.subtract(heard[:PERIOD_FRAMES], self._widener(echo), out=left[-PERIOD_FRAMES:])

    def _follow(self, talk: Talk) -> None:
        linear, far = self.linear, talk.far
        self._floor_db = min(linear.left_db, self._floor_db + _FLOOR_RISE_DB)
        self._echo_db = max(linear.echo_db, self._echo_db - _DECAY_DB)
        sounds = linear.left_db > self._floor_db + _ABOVE_NOISE_DB
        if far and sounds:
            self._alike += _ALIKE_SMOOTHING * (linear.alike - self._alike)
        taken_db = self._echo_db - linear.left_db
        if far and not self._hang:  # the best fifth, as in `erle.py`; a near end tells nothing of it
            self._taken_db += 0.4 if taken_db > self._taken_db else -0.1
        proven = self._taken_db > _PROVEN_DB and self._alike < _ALIKE
        if talk.metered:  # only the far end, and its echo sounds: a running median of what the filter leaves of it
            self._usual_db += 0.1 if taken_db > self._usual_db else -0.1
        limit_db = min(-_NEAR_DB, self._usual_db - _BELOW_USUAL_DB)
        near = far and sounds and proven and not talk.metered and taken_db < limit_db
        self._seen = self._seen + 1 if near else 0
        if self._seen >= _SEEN_PERIODS:
            self._hang = _HANG_PERIODS
        else:
            self._hang = max(0, self._hang - 1) if proven else 0
