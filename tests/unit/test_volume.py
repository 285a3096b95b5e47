"""Volumes: equal steps for the ear, nothing changed at 100, no click on the way."""

import numpy as np
import pytest

from intercomd.core.effects import Jingle, Tone
from intercomd.core.snapshot import Volumes
from intercomd.media.mixer import Mixer
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm, level_dbfs
from intercomd.media.volume import STEP_DB, Fader, gain_of

VOICE: Pcm = np.rint(10_000 * np.cos(np.arange(PERIOD_FRAMES) * 2 * np.pi / 48)).astype(np.int16)
VOICE.setflags(write=False)


def test_every_point_is_the_same_step_and_the_ends_are_what_they_say() -> None:
    levels_db = [20 * np.log10(gain_of(percent)) for percent in range(1, 101)]
    assert np.allclose(np.diff(levels_db), STEP_DB)
    assert (gain_of(100), gain_of(0)) == (1.0, 0.0)


def test_at_100_sound_is_handed_on_as_it_is() -> None:
    assert Fader().faded(VOICE) is VOICE
    assert Mixer().over(VOICE) is VOICE


def test_a_change_is_a_slope_and_not_a_step() -> None:
    fader = Fader()
    fader.wanted = gain_of(0)
    sound = np.concatenate([VOICE, fader.faded(VOICE), fader.faded(VOICE)]).astype(int)
    assert np.abs(np.diff(sound)).max() <= np.abs(np.diff(VOICE.astype(int))).max() + 30
    assert not sound[-PERIOD_FRAMES:].any()
    assert fader.faded(VOICE) is SILENCE


def heard(mixer: Mixer, voice: Pcm = SILENCE, periods: int = 20) -> float:
    return max(level_dbfs(mixer.over(voice)) for _ in range(periods))


@pytest.mark.parametrize(
    ("volumes", "voice", "ring", "prompts"),
    [
        (Volumes(voice=50), -20.0, 0.0, 0.0),
        (Volumes(ring=50), 0.0, -20.0, 0.0),
        (Volumes(prompts=50), 0.0, 0.0, -20.0),
    ],
)
def test_voice_ring_and_prompts_are_set_apart(volumes: Volumes, voice: float, ring: float, prompts: float) -> None:
    def quieter(sound: Pcm, tone: Tone | None, jingle: Jingle | None) -> float:
        levels = []
        for chosen in (Volumes(), volumes):
            mixer = Mixer()
            mixer.set_volumes(chosen)
            mixer.over(VOICE)  # the slope
            mixer.loop(tone)
            if jingle:
                mixer.play(jingle)
            levels.append(heard(mixer, sound))
        return levels[1] - levels[0]

    assert quieter(VOICE, None, None) == pytest.approx(voice, abs=0.1)
    assert quieter(SILENCE, Tone.RINGING, None) == pytest.approx(ring, abs=0.1)
    for tone in (Tone.RINGBACK, Tone.BUSY, Tone.ERROR_NETWORK):
        assert quieter(SILENCE, tone, None) == pytest.approx(prompts, abs=0.1)
    assert quieter(SILENCE, None, Jingle.CONNECTED) == pytest.approx(prompts, abs=0.1)


@pytest.mark.parametrize(("tone", "jingle"), [(Tone.RINGING, None), (Tone.RINGBACK, None), (None, Jingle.CONNECTED)])
def test_what_is_switched_off_in_silence_is_not_heard_for_a_moment(tone: Tone | None, jingle: Jingle | None) -> None:
    mixer = Mixer()
    mixer.set_volumes(Volumes(ring=0, prompts=0))
    mixer.over(SILENCE)
    mixer.loop(tone)
    if jingle:
        mixer.play(jingle)
    assert not any(mixer.over(SILENCE).any() for _ in range(20))
