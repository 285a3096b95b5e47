"""Our own linear canceller, and the choice between it and the engine."""

import numpy as np
import pytest

from intercomd.media.double_talk import LEAST_LATE_FRAMES, DoubleTalk
from intercomd.media.erle import Talk
from intercomd.media.linear import LinearCanceller
from intercomd.media.narrow import NARROW_FRAMES, NARROW_HZ, Narrower, Wave
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


def narrowed(captured: Pcm, reference: Pcm) -> list[Wave]:
    narrower = Narrower(2)
    return [narrower(heard, played) for heard, played in periods(captured, reference)]


def test_learns_an_echo_and_leaves_a_near_end_as_it_is() -> None:
    linear = LinearCanceller()
    linear.aim(DELAY_FRAMES)
    half = 4 * NARROW_HZ
    both = echo(FAR)
    both[4 * RATE_HZ :] += NEAR[4 * RATE_HZ :]
    sounds = narrowed(both, FAR)
    left = np.concatenate([heard - linear.process(heard, played) for heard, played in sounds])
    heard = np.concatenate([sound[0] for sound in sounds])
    said = np.concatenate([sound[0] for sound in narrowed(NEAR, FAR)])
    assert level_db(left[half // 2 : half]) < level_db(heard[half // 2 : half]) - 18
    assert correlation(left[half + NARROW_HZ :], said[half + NARROW_HZ :]) > 0.95
    assert linear.alike < 0.3


def test_another_delay_is_learnt_anew_and_the_same_one_is_not() -> None:
    linear = LinearCanceller()
    linear.aim(DELAY_FRAMES)
    for heard, played in narrowed(echo(FAR), FAR)[:200]:
        linear.process(heard, played)
    before = linear.left_db - linear.echo_db
    linear.aim(DELAY_FRAMES + 40)
    assert linear.left_db - linear.echo_db == before
    linear.aim(DELAY_FRAMES + 4800)
    assert linear.echo_db == 0.0


def test_a_far_end_that_was_silent_is_taken_up_where_it_was_left() -> None:
    linear = LinearCanceller()
    linear.aim(DELAY_FRAMES)
    sounds = narrowed(echo(FAR), FAR)
    for heard, played in sounds[:400]:
        linear.process(heard, played)
    near = narrowed(NEAR, FAR)
    quiet = np.zeros(NARROW_FRAMES, np.float32)
    for heard, _ in near[:200]:
        taken = linear.process(heard, quiet)
    assert not taken.any()
    assert linear.left_db == pytest.approx(10 * np.log10(np.sum(heard.astype(float) ** 2) * NARROW_FRAMES), abs=0.5)
    left = np.concatenate([heard - linear.process(heard, played) for heard, played in sounds[400:]])
    assert level_db(left) < level_db(np.concatenate([heard for heard, _ in sounds[400:]])) - 15


@pytest.mark.parametrize("late_frames", [LEAST_LATE_FRAMES, 428])
def test_the_near_end_comes_from_the_linear_one_while_both_speak_at_the_engines_delay(late_frames: int) -> None:
    choice = DoubleTalk(late_frames)
    choice.linear.aim(DELAY_FRAMES)
    half = 4 * RATE_HZ
    both = echo(FAR)
    both[half:] += NEAR[half:]
    sent = []
    for turn, (heard, narrow) in enumerate(zip(both.reshape(-1, PERIOD_FRAMES), narrowed(both, FAR), strict=True)):
        talk = FAR_ONLY if turn < half // PERIOD_FRAMES else MAYBE_BOTH
        sent.append(choice.blend(heard, narrow, NOTHING, talk, trusted=turn > 200, gain_db=0.0))
    out = np.concatenate(sent)
    assert not out[:half].any(), "of the far end alone nothing comes but the engine's"
    said = NEAR[half + RATE_HZ - late_frames : len(NEAR) - late_frames]
    assert correlation(out[half + RATE_HZ :], said) > 0.75
    assert choice.both


def test_untrusted_it_changes_nothing() -> None:
    choice = DoubleTalk(0)
    choice.linear.aim(DELAY_FRAMES)
    both = echo(FAR) + NEAR
    for heard, narrow in zip(both.reshape(-1, PERIOD_FRAMES), narrowed(both, FAR), strict=True):
        assert choice.blend(heard, narrow, NOTHING, MAYBE_BOTH, trusted=False, gain_db=0.0) is NOTHING


def test_an_echo_that_moved_is_no_near_end() -> None:
    choice = DoubleTalk(0)
    choice.linear.aim(DELAY_FRAMES)
    heard = np.concatenate([echo(FAR)[: 4 * RATE_HZ], echo(FAR)[4 * RATE_HZ - 960 : -960]])
    sent = [
        choice.blend(one, narrow, NOTHING, MAYBE_BOTH if turn >= 400 else FAR_ONLY, trusted=turn > 200, gain_db=0.0)
        for turn, (one, narrow) in enumerate(zip(heard.reshape(-1, PERIOD_FRAMES), narrowed(heard, FAR), strict=True))
    ]
    leaked = np.concatenate(sent[420:])
    assert level_db(leaked) < level_db(heard[4 * RATE_HZ :]) - 10
