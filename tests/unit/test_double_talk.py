"""Our own linear canceller, and the choice between it and the engine."""

import numpy as np
import pytest

from intercomd.media.double_talk import DoubleTalk
from intercomd.media.erle import Talk
from intercomd.media.linear import LinearCanceller
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from tests.unit.sounds import correlation, speech

DELAY_FRAMES = 1440
FAR = speech(1, 8 * RATE_HZ)
NEAR = speech(2, 8 * RATE_HZ) // 4
FAR_ONLY = Talk(far=True, near=False, metered=True)
MAYBE_BOTH = Talk(far=True, near=False, metered=False)
NOTHING: Pcm = np.zeros(PERIOD_FRAMES, np.int16)


def echo(played: Pcm) -> Pcm:
    dice = np.random.default_rng(5)
    room = np.zeros(DELAY_FRAMES + 2400)
    room[DELAY_FRAMES:] = dice.normal(0, 0.03, 2400) * np.exp(-np.arange(2400) / 600)
    room[DELAY_FRAMES] = 0.5
    size = 1 << (len(played) + len(room)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(room, size), size)[: len(played)]
    return np.rint(heard).astype(np.int16)


def periods(*sounds: Pcm) -> list[tuple[Pcm, ...]]:
    return list(zip(*(sound.reshape(-1, PERIOD_FRAMES) for sound in sounds), strict=True))


def level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(wave.astype(float) ** 2) + 1e-9))


def test_learns_an_echo_and_leaves_a_near_end_as_it_is() -> None:
    linear = LinearCanceller()
    linear.aim(DELAY_FRAMES)
    half = 4 * RATE_HZ
    both = echo(FAR)
    both[half:] += NEAR[half:]
    left = np.concatenate([linear.process(heard, played) for heard, played in periods(both, FAR)])
    assert level_db(left[half // 2 : half]) < level_db(both[half // 2 : half]) - 18
    assert correlation(left[half + RATE_HZ :], NEAR[half + RATE_HZ :]) > 0.95
    assert linear.alike < 0.3


def test_another_delay_is_learnt_anew_and_the_same_one_is_not() -> None:
    linear = LinearCanceller()
    linear.aim(DELAY_FRAMES)
    for heard, played in periods(echo(FAR), FAR)[:200]:
        linear.process(heard, played)
    before = linear.left_db - linear.echo_db
    linear.aim(DELAY_FRAMES + 40)
    assert linear.left_db - linear.echo_db == before
    linear.aim(DELAY_FRAMES + 4800)
    assert linear.echo_db == 0.0


@pytest.mark.parametrize("late_frames", [0, 428])
def test_the_near_end_comes_from_the_linear_one_while_both_speak_at_the_engines_delay(late_frames: int) -> None:
    choice = DoubleTalk(late_frames)
    choice.linear.aim(DELAY_FRAMES)
    half = 4 * RATE_HZ
    both = echo(FAR)
    both[half:] += NEAR[half:]
    sent = []
    for turn, (heard, played) in enumerate(periods(both, FAR)):
        talk = FAR_ONLY if turn < half // PERIOD_FRAMES else MAYBE_BOTH
        sent.append(choice.blend(heard, played, NOTHING, talk, trusted=turn > 200, gain_db=0.0))
    out = np.concatenate(sent)
    assert not out[:half].any(), "of the far end alone nothing comes but the engine's"
    said = NEAR[half + RATE_HZ - late_frames : len(NEAR) - late_frames]
    assert correlation(out[half + RATE_HZ :], said) > 0.75
    assert choice.both


def test_untrusted_it_changes_nothing() -> None:
    choice = DoubleTalk(0)
    choice.linear.aim(DELAY_FRAMES)
    both = echo(FAR) + NEAR
    for heard, played in periods(both, FAR):
        assert choice.blend(heard, played, NOTHING, MAYBE_BOTH, trusted=False, gain_db=0.0) is NOTHING


def test_an_echo_that_moved_is_no_near_end() -> None:
    choice = DoubleTalk(0)
    choice.linear.aim(DELAY_FRAMES)
    heard = np.concatenate([echo(FAR)[: 4 * RATE_HZ], echo(FAR)[4 * RATE_HZ - 960 : -960]])
    sent = [
        choice.blend(one, played, NOTHING, MAYBE_BOTH if turn >= 400 else FAR_ONLY, trusted=turn > 200, gain_db=0.0)
        for turn, (one, played) in enumerate(periods(heard, FAR))
    ]
    leaked = np.concatenate(sent[420:])
    assert level_db(leaked) < level_db(heard[4 * RATE_HZ :]) - 10
