"""Our own meters of the echo: how much of it is taken away (ERLE, ITU-T G.168), and whether both ends speak.

An engine's word is not asked: what was captured is compared with what is sent, in periods in which only the far end
speaks, and only where its echo is really there. A microphone that hears no echo has no ERLE, good or bad.
"""

import math
from dataclasses import dataclass
from typing import Final

FAR_DBFS: Final = -45.0
"""The reference, when the far end speaks."""
_DECAY_DB: Final = 0.9
"""Per period: a stairwell with a reverberation time of 0.67 s."""
_ABOVE_NOISE_DB: Final = 10.0
_DOUBLE_TALK_DB: Final = 9.0
"""More than the echo is expected to be: speech crests differ by some 6 dB from the mean."""
_BEST: Final = 0.8
_BEST_STEP_DB: Final = 0.5
"""The best fifth of the periods tells what the canceller can: in double talk the near end's pauses are among it, and
where it fails no period is good."""
_MOST_BEST_DB: Final = 40.0
"""From here a canceller that fails is noticed within three seconds."""
_BELOW_BEST_DB: Final = 12.0
"""What is sent exceeds what the canceller leaves: a near end that is not louder than the echo."""
_COUPLING_STEP_DB: Final = 0.25
_FIRST_STEP_DB: Final = 1.0
_FLOOR_RISE_DB: Final = 0.005
"""Per period, 0.5 dB a second: the noise floor follows a noise that begins within a minute, and falls at once."""
_MEAN: Final = 1 / 150
"""1.5 s of far-end speech."""
_NEEDED_PERIODS: Final = 100
_MOST_DB: Final = 60.0
_SILENT_DBFS: Final = -96.0


@dataclass(frozen=True, slots=True)
class Talk:
    """Who speaks in this period, as far as levels tell."""

    far: bool
    near: bool
    """Louder than any echo could be: it may break in on half duplex."""
    metered: bool
    """Only the far end, and its echo is heard: this period counts for ERLE."""


class EchoMeter:
    """For the capture thread; `erle_db` may be read by any."""

    def __init__(self) -> None:
        self.erle_db: float | None = None
        """None until a second of echo was heard."""
        self.clear()

    def clear(self) -> None:
        """Another route: its echo and its noise are others."""
        self.coupling_db = 0.0
        """From reference to microphone. 0 dB at first: nobody breaks in by mistake."""
        self._known = False
        self._floor_dbfs = -50.0
        self.near_gain_db = 0.0
        self.renew()

    def renew(self) -> None:
        """Another call: the canceller must prove itself again, the room is the same."""
        self.erle_db = None
        self._far_dbfs = _SILENT_DBFS
        self._captured = self._sent = 0.0
        self._before_dbfs = _SILENT_DBFS
        self._periods = 0
        self.best_db = 0.0
        """What the canceller takes away in its better moments, double talk or not."""

    def see(
        self, reference_dbfs: float, captured_dbfs: float, sent_dbfs: float, *, audible: bool, both: bool = False
    ) -> Talk:
        """Levels of one period; `audible`: an echo was found by the delay tracker; `both`: the linear canceller hears a
        near end beside it."""
        self._follow(reference_dbfs, captured_dbfs)
        far = self._far_dbfs > FAR_DBFS
        heard = captured_dbfs > self._floor_dbfs + _ABOVE_NOISE_DB
        if far and heard and audible:
            self._learn(captured_dbfs - self._far_dbfs)
        expected_dbfs = self._far_dbfs + self.coupling_db
        taken_db = self._before_dbfs - sent_dbfs
        echo = far and heard and audible and self._known
        if echo and not both:
            self._watch(taken_db)
        near = heard and captured_dbfs > expected_dbfs + _DOUBLE_TALK_DB
        metered = echo and not near and not both and taken_db >= self.best_db - _BELOW_BEST_DB
        if metered:
            self._count(sent_dbfs)
        elif near and not far:
            self.near_gain_db += (sent_dbfs - captured_dbfs - self.near_gain_db) * _MEAN
        self._before_dbfs = captured_dbfs
        return Talk(far, near, metered)

    def _follow(self, reference_dbfs: float, captured_dbfs: float) -> None:
        self._floor_dbfs = min(captured_dbfs, self._floor_dbfs + _FLOOR_RISE_DB)
        self._floor_dbfs = max(self._floor_dbfs, -75.0)
        self._far_dbfs = max(reference_dbfs, self._far_dbfs - _DECAY_DB)

    def _learn(self, ratio_db: float) -> None:
        """A running median: double talk, less than half of the time, does not move it far. At first it comes down from
        above until an echo is as loud: one period between two words would let the echo itself break in."""
        if not self._known and ratio_db < self.coupling_db:
            self.coupling_db -= min(_FIRST_STEP_DB, self.coupling_db - ratio_db)
            return
        self._known = True
        step = _COUPLING_STEP_DB if abs(ratio_db - self.coupling_db) < 12 else 2 * _COUPLING_STEP_DB
        self.coupling_db += math.copysign(min(step, abs(ratio_db - self.coupling_db)), ratio_db - self.coupling_db)

    def _watch(self, taken_db: float) -> None:
        """A running quantile."""
        rises = taken_db > self.best_db
        self.best_db = min(_MOST_BEST_DB, self.best_db + _BEST_STEP_DB * (_BEST if rises else _BEST - 1))

    def _count(self, sent_dbfs: float) -> None:
        """What is sent comes a period or so later than what was captured."""
        self._captured += (_power(self._before_dbfs) - self._captured) * _MEAN
        self._sent += (_power(sent_dbfs) - self._sent) * _MEAN
        self._periods += 1
        if self._periods >= _NEEDED_PERIODS and self._captured > 0:
            left_db = 10 * math.log10(max(self._sent, 1e-12) / self._captured)
            # Automatic gain makes what is left of the echo louder, as it makes the near end: no fault of the canceller.
            self.erle_db = min(_MOST_DB, max(0.0, self.near_gain_db) - left_db)


def _power(level_dbfs: float) -> float:
    return float(10.0 ** (level_dbfs / 10))
