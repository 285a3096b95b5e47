"""Tones over the voice: the only place where sound is added to what the loudspeaker gets."""

from collections import deque

import numpy as np

from intercomd.core.effects import Jingle, Tone
from intercomd.media.pcm import PERIOD_FRAMES, Pcm, mix
from intercomd.media.tones import jingle_of, loop_of

MAX_JINGLES = 4
"""They wait for each other; more than these would sound long after what they tell of."""
_FADE_OUT = np.linspace(1.0, 0.0, PERIOD_FRAMES, dtype=np.float32)


class Mixer:
    """`loop` and `play` may be called from any thread; `over` belongs to the playout thread."""

    def __init__(self) -> None:
        self._wanted: Tone | None = None
        self._waiting: deque[Jingle | Pcm] = deque(maxlen=MAX_JINGLES)
        self._tone: Tone | None = None
        self._at = 0
        self._jingle: Pcm | None = None
        self._jingle_at = 0

    def loop(self, tone: Tone | None) -> None:
        """Sound `tone` from its beginning until another is ordered; the same one again goes on."""
        self._wanted = tone

    def play(self, jingle: Jingle) -> None:
        """Once, after those that still play."""
        self._waiting.append(jingle)

    def insert(self, sound: Pcm) -> None:
        """The same for a sound of whole periods, read-only from now on."""
        self._waiting.append(sound)

    def over(self, voice: Pcm) -> Pcm:
        """The period that is heard."""
        for sound in (self._next_of_loop(), self._next_of_jingle()):
            if sound is not None:
                voice = mix(voice, sound)
        return voice

    def _next_of_loop(self) -> Pcm | None:
        wanted = self._wanted
        if wanted is not self._tone:
            leaving = self._cut()
            self._tone, self._at = wanted, 0
            if leaving is not None:
                return (leaving * _FADE_OUT).astype(np.int16)
        return self._cut()

    def _cut(self) -> Pcm | None:
        if self._tone is None:
            return None
        turn = loop_of(self._tone)
        period = turn[self._at : self._at + PERIOD_FRAMES]
        self._at = (self._at + PERIOD_FRAMES) % len(turn)
        return period

    def _next_of_jingle(self) -> Pcm | None:
        if self._jingle is None:
            if not self._waiting:
                return None
            sound = self._waiting.popleft()
            self._jingle, self._jingle_at = jingle_of(sound) if isinstance(sound, Jingle) else sound, 0
        period = self._jingle[self._jingle_at : self._jingle_at + PERIOD_FRAMES]
        self._jingle_at += PERIOD_FRAMES
        if self._jingle_at >= len(self._jingle):
            self._jingle = None
        return period
