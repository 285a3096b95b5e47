"""Tones over the voice."""

import numpy as np

from intercomd.core.effects import Jingle, Tone
from intercomd.media.mixer import MAX_JINGLES, Mixer
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm
from intercomd.media.tones import jingle_of, loop_of

VOICE: Pcm = np.full(PERIOD_FRAMES, 1000, np.int16)


def heard(mixer: Mixer, periods: int) -> Pcm:
    return np.concatenate([mixer.over(SILENCE) for _ in range(periods)])


def test_without_tones_the_voice_passes_as_it_is() -> None:
    assert Mixer().over(VOICE) is VOICE


def test_a_tone_is_added_to_the_voice() -> None:
    mixer = Mixer()
    mixer.loop(Tone.BUSY)
    assert np.array_equal(mixer.over(VOICE), loop_of(Tone.BUSY)[:PERIOD_FRAMES] + 1000)


def test_a_loud_voice_is_clipped_and_does_not_wrap() -> None:
    mixer = Mixer()
    mixer.loop(Tone.RINGING)
    loud = np.full(PERIOD_FRAMES, 32767, np.int16)
    assert np.concatenate([mixer.over(loud) for _ in range(20)]).min() > 0


def test_the_same_tone_ordered_again_goes_on() -> None:
    mixer = Mixer()
    mixer.loop(Tone.RINGBACK)
    first = heard(mixer, 3)
    mixer.loop(Tone.RINGBACK)
    assert np.array_equal(np.concatenate((first, heard(mixer, 3))), loop_of(Tone.RINGBACK)[: 6 * PERIOD_FRAMES])


def test_a_tone_leaves_by_a_fade_and_the_next_begins_at_its_beginning() -> None:
    mixer = Mixer()
    mixer.loop(Tone.RINGBACK)
    heard(mixer, 5)
    mixer.loop(Tone.BUSY)
    leaving, coming = heard(mixer, 1), heard(mixer, 1)
    assert np.abs(leaving[-5:].astype(int)).max() < 60
    assert np.abs(np.diff(leaving.astype(int))).max() < 400
    assert np.array_equal(coming, loop_of(Tone.BUSY)[:PERIOD_FRAMES])


def test_silence_after_the_last_tone() -> None:
    mixer = Mixer()
    mixer.loop(Tone.RINGBACK)
    heard(mixer, 5)
    mixer.loop(None)
    heard(mixer, 1)
    assert mixer.over(VOICE) is VOICE


def test_jingles_wait_for_each_other_and_are_bounded() -> None:
    mixer = Mixer()
    for _ in range(MAX_JINGLES + 3):
        mixer.play(Jingle.ENDED)
    once = jingle_of(Jingle.ENDED)
    sound = heard(mixer, 400)
    assert np.array_equal(sound[: 2 * len(once)], np.concatenate((once, once)))
    assert np.count_nonzero(sound) == MAX_JINGLES * np.count_nonzero(once)
