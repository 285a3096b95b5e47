"""What the loudspeaker was given and what the microphone heard, laid side by side: one frame of reference for each
frame that is captured, through underruns and overruns in either direction and two crystals that differ.

Both are positions on one line. Playout writes at its end, the silence of an underrun included; capture reads behind it
at a distance, the frames of an overrun skipped. Playout keeps its queue at one level, so the mean distance belongs to
the hardware: where it moves by more than scheduling explains, the line was off (an xrun's length is only reckoned by
the clock) or the crystals differ, and reading is set right: at once by more than 5 ms, else frame by frame, which an
echo canceller follows as it follows a person who walks: two cards that differ by 200 ppm cost it 3 dB of 44.

Both sides move a period at a time, and two clocks that differ by little beat: for a minute the count says that nothing
moves, then that 10 ms did. So what the card has played since the last period was written is reckoned by the clock.
"""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Final

import numpy as np

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

LINE_FRAMES: Final = RATE_HZ
"""One second: a bulk delay of some 250 ms, and a thread that comes late."""
MARGIN_FRAMES: Final = 3 * PERIOD_FRAMES
"""How far capture reads behind playout at first: a playout thread that is late by two periods costs nothing."""
_SETTLING_PERIODS: Final = 100
"""Until the mean distance is known."""
_SMOOTHING: Final = 1 / 50
"""Half a second: long beside the jitter of both threads, short beside what an xrun costs."""
_LATELY: Final = 1 / 8
_JUMP_FRAMES: Final = RATE_HZ * 5 // 1000
_SLACK_FRAMES: Final = RATE_HZ // 1000
"""Scheduling moves the mean by less than this; echo cancellers do not mind it."""
_SLIP_EVERY: Final = 5
"""In periods: 20 frames a second, 400 ppm."""
_LOST_FRAMES: Final = LINE_FRAMES // 2
_MOST_SINCE_FRAMES: Final = 4 * PERIOD_FRAMES
"""What a card holds: playout that has written nothing for longer has stopped."""
_STARVING_PERIODS: Final = 100
"""A playout thread that is held up catches up, exactly; one that stays behind has lost count."""


class Reference:
    """`played` and `restarted` belong to the playout thread, the rest to the capture thread."""

    def __init__(self, now_s: Callable[[], float] = monotonic) -> None:
        self._lock = Lock()  # held for some microseconds by either side
        self._now_s, self._written_s = now_s, now_s()
        self._line: Pcm = np.zeros(LINE_FRAMES, np.int16)
        self._written = 0
        self._read = 0
        self._behind = MARGIN_FRAMES
        self._anchored = False
        self._settled = 0
        self._usual = self._mean = self._lately = 0.0
        self._until_slip = self._starving = 0
        self.slipped_frames = 0
        """Net, by which reading was set right: forwards is positive."""

    # -------------------------------------------------------------------------------------------- playout thread

    def played(self, period: Pcm, lost_frames: int = 0) -> None:
        """The card took `period`; before it `lost_frames` of silence were heard that nobody wrote."""
        with self._lock:
            if lost_frames:
                self._append(np.zeros(min(lost_frames, LINE_FRAMES), np.int16))
            self._append(period)
            self._written_s = self._now_s()

    def restarted(self) -> None:
        """Another playback stream: how far it lies ahead is not known before it runs."""
        with self._lock:
            self._anchored = False

    def _append(self, sound: Pcm) -> None:
        at = self._written % LINE_FRAMES
        first = min(len(sound), LINE_FRAMES - at)
        self._line[at : at + first] = sound[:first]
        self._line[: len(sound) - first] = sound[first:]
        self._written += len(sound)

    # -------------------------------------------------------------------------------------------- capture thread

    def begin(self, behind_frames: int = MARGIN_FRAMES) -> None:
        """Another recording, which reads so far behind playout."""
        with self._lock:
            self._behind, self._anchored = max(MARGIN_FRAMES, min(behind_frames, _LOST_FRAMES)), False

    @property
    def behind_frames(self) -> int:
        """How far the reading was told to stay behind."""
        return self._behind

    def matching(self, lost_frames: int = 0) -> Pcm:
        """The reference, shape (480,), for the period that was captured after `lost_frames` nobody got. What has not
        been written yet is silence."""
        with self._lock:
            distance = self._written - self._read - lost_frames
            if not self._anchored or not -_LOST_FRAMES < distance - self._behind < _LOST_FRAMES:
                self._anchor()
            else:
                self._read += lost_frames
                self._watch(self._written - self._read)
            reference = self._cut(self._read)
            self._read += PERIOD_FRAMES
            return reference

    def _anchor(self) -> None:
        self._read = self._written - self._behind
        self._anchored, self._settled, self._until_slip, self._starving = True, 0, 0, 0
        self._mean = self._lately = float(self._behind)

    def _watch(self, known: int) -> None:
        """`known`: frames that are written and not read yet."""
        self._starving = self._starving + 1 if known < PERIOD_FRAMES else 0
        if self._starving > _STARVING_PERIODS:
            self._anchored = False
        if self._starving:
            return
        distance = known + min((self._now_s() - self._written_s) * RATE_HZ, _MOST_SINCE_FRAMES)
        if self._settled < _SETTLING_PERIODS:
            self._settled += 1
            self._mean += (distance - self._mean) / self._settled
            self._usual = self._lately = self._mean
            return
        self._mean += (distance - self._mean) * _SMOOTHING
        self._lately += (distance - self._lately) * _LATELY
        off = self._mean - self._usual
        if abs(off) > _JUMP_FRAMES:
            self._slip(round(self._lately - self._usual))
            self._mean = self._lately
        elif abs(off) > _SLACK_FRAMES and self._until_slip == 0:
            self._slip(1 if off > 0 else -1)
            self._until_slip = _SLIP_EVERY
        self._until_slip = max(0, self._until_slip - 1)

    def _slip(self, frames: int) -> None:
        self._read += frames
        self._mean -= frames
        self._lately -= frames
        self.slipped_frames += frames

    def _cut(self, start: int) -> Pcm:
        begin = max(start, self._written - LINE_FRAMES, 0)
        end = min(start + PERIOD_FRAMES, self._written)
        at = begin % LINE_FRAMES
        if end - begin == PERIOD_FRAMES and at + PERIOD_FRAMES <= LINE_FRAMES:
            return self._line[at : at + PERIOD_FRAMES].copy()
        reference = np.zeros(PERIOD_FRAMES, np.int16)
        if end > begin:
            reference[begin - start : end - start] = self._line[np.arange(begin, end) % LINE_FRAMES]
        return reference
