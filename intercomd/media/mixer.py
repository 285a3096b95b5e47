"""Tones over the voice: the only place where sound is added to what the loudspeaker gets."""

from collections import deque

import numpy as np

from intercomd.core.effects import Jingle, Tone
from intercomd.core.snapshot import Volumes
from intercomd.media.pcm import PERIOD_FRAMES, Pcm, mix
from intercomd.media.tones import jingle_of, loop_of
from intercomd.media.volume import Fader, gain_of

MAX_JINGLES = 4
"""They wait for each other; more than these would sound long after what they tell of."""
_FADE_OUT = np.linspace(1.0, 0.0, PERIOD_FRAMES, dtype=np.float32)


class Mixer:
    """`loop`, `play` and `set_volumes` may be called from any thread; `over` belongs to the playout thread.

    How loud things are is decided here and not by the card's own mixer: it differs from card to card, often has steps
    of 3 dB or is shared with others, and an echo canceller must know what it is given."""

    def __init__(self) -> None:
        self._wanted: Tone | None = None
        self._waiting: deque[Jingle | Pcm] = deque(maxlen=MAX_JINGLES)
        self._tone: Tone | None = None
        self._at = 0
        self._jingle: Pcm | None = None
        self._jingle_at = 0
        self._voice, self._ring, self._prompts = Fader(), Fader(), Fader()

    def set_volumes(self, volumes: Volumes) -> None:
        """From the next period on, without a click."""
        self._voice.wanted = gain_of(volumes.voice)
        self._ring.wanted = gain_of(volumes.ring)
        self._prompts.wanted = gain_of(volumes.prompts)

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
        voice = self._voice.faded(voice)
        for sound in (self._next_of_loop(), self._next_of_jingle()):
            if sound is not None:
                voice = mix(voice, sound)
        self._ring.period_over()
        self._prompts.period_over()
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
        return (self._ring if self._tone is Tone.RINGING else self._prompts).faded(period)

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
        return self._prompts.faded(period)
