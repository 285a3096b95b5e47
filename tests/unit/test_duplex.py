"""Half duplex: who has the line, and no clicks."""

import numpy as np

from intercomd.media.duplex import DUCKED, HalfDuplex
from intercomd.media.erle import Talk
from intercomd.media.pcm import PERIOD_FRAMES, Pcm

FAR = Talk(far=True, near=False, metered=False)
NEAR = Talk(far=False, near=True, metered=False)
BOTH = Talk(far=True, near=True, metered=False)
NOBODY = Talk(far=False, near=False, metered=False)
LOUD: Pcm = np.full(PERIOD_FRAMES, 10_000, np.int16)


def sent(duplex: HalfDuplex, talk: Talk, periods: int, *, active: bool = True) -> Pcm:
    return np.concatenate([duplex(LOUD, talk, active=active) for _ in range(periods)])


def test_far_end_shuts_the_microphone_within_a_period_and_silence_opens_it_again() -> None:
    duplex = HalfDuplex()
    assert np.array_equal(sent(duplex, NOBODY, 3), np.tile(LOUD, 3))
    shut = sent(duplex, FAR, 50)
    assert shut[PERIOD_FRAMES:].max() <= 10_000 * DUCKED
    opening = sent(duplex, NOBODY, 30)
    assert np.array_equal(opening[-PERIOD_FRAMES:], LOUD)


def test_gaps_between_words_do_not_open_it() -> None:
    duplex = HalfDuplex()
    sent(duplex, FAR, 20)
    assert sent(duplex, NOBODY, 10).max() <= 10_000 * DUCKED


def test_a_louder_near_end_breaks_in_and_keeps_the_line_between_its_words() -> None:
    duplex = HalfDuplex()
    sent(duplex, FAR, 20)
    sent(duplex, BOTH, 8)
    assert np.array_equal(sent(duplex, BOTH, 1), LOUD)
    assert np.array_equal(sent(duplex, FAR, 20), np.tile(LOUD, 20))
    assert sent(duplex, FAR, 20)[-PERIOD_FRAMES:].max() <= 10_000 * DUCKED


def test_a_slam_is_no_word() -> None:
    duplex = HalfDuplex()
    sent(duplex, FAR, 20)
    assert sent(duplex, BOTH, 2).max() <= 10_000 * DUCKED


def test_not_needed_it_changes_nothing_at_all() -> None:
    duplex = HalfDuplex()
    assert duplex(LOUD, FAR, active=False) is LOUD


def test_gain_never_jumps() -> None:
    duplex = HalfDuplex()
    turns = ((NOBODY, 5), (FAR, 30), (BOTH, 10), (FAR, 60), (NOBODY, 40))
    heard = np.concatenate([sent(duplex, talk, periods) for talk, periods in turns])
    assert np.abs(np.diff(heard.astype(int))).max() <= 10_000 // PERIOD_FRAMES + 2
