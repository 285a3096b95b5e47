"""The judge of the benchmark `recovery`: which silence is a hole, and from when on a voice is back."""

import numpy as np
import pytest

from intercomd.demo.listen import read_wav
from intercomd.demo.sound import sentence
from intercomd.media.pcm import RATE_HZ, Pcm
from tests.bench.recovery.judge import Hole, back_s, holes, longest_hole_s, presence, share
from tests.bench.sounds import without_pauses

VOICE, OTHER = (without_pauses(read_wav(sentence(number))) for number in (0, 1))
TONE: Pcm = (6000 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
BEGAN_S = 100.0


def recorded(*pieces: Pcm) -> Pcm:
    sound = np.concatenate(pieces).astype(np.float64)
    noise = np.random.default_rng(1).normal(0, 40, len(sound))
    return (0.5 * sound + noise).clip(-32768, 32767).astype(np.int16)


def said(from_s: float, to_s: float) -> Pcm:
    return np.tile(VOICE, 3)[round(from_s * RATE_HZ) : round(to_s * RATE_HZ)]


@pytest.mark.parametrize("filling", [TONE * 0, TONE, OTHER[:RATE_HZ]], ids=["silence", "tone", "another voice"])
def test_a_hole_is_found_whatever_fills_it(filling: Pcm) -> None:
    heard = presence(VOICE, recorded(said(0, 3), filling, said(0.7, 4)))
    (hole,) = holes(heard, BEGAN_S)
    assert hole.begin_s == pytest.approx(BEGAN_S + 3, abs=0.03)
    assert hole.end_s == pytest.approx(BEGAN_S + 4, abs=0.03)
    assert back_s([hole], BEGAN_S + 3.5) == pytest.approx(0.5, abs=0.03)
    assert longest_hole_s(heard, BEGAN_S, BEGAN_S + 1, BEGAN_S + 6) == pytest.approx(1.0, abs=0.05)


def test_a_buffer_that_moves_the_voice_makes_no_hole() -> None:
    heard = presence(VOICE, recorded(said(0, 2), said(2.04, 5)))
    assert holes(heard, BEGAN_S, at_least_s=0.1) == []
    assert share(heard, BEGAN_S, BEGAN_S, BEGAN_S + 4.9) > 0.9


def test_a_short_hole_is_measured_though_it_is_no_loss() -> None:
    heard = presence(VOICE, recorded(said(0, 2), TONE[:7200] * 0, said(2, 4)))
    assert holes(heard, BEGAN_S) == []
    assert longest_hole_s(heard, BEGAN_S, BEGAN_S + 0.5, BEGAN_S + 3.5) == pytest.approx(0.15, abs=0.03)


def test_who_stays_away_is_not_back() -> None:
    heard = presence(VOICE, recorded(said(0, 3), TONE * 0, said(0, 1), TONE * 0))
    found = holes(heard, BEGAN_S)
    assert [hole.end_s is None for hole in found] == [False, True]
    assert back_s(found, BEGAN_S) is None


def test_who_comes_and_goes_is_back_when_it_stays() -> None:
    found = [Hole(11.0, 12.0), Hole(12.5, 14.0)]
    assert back_s(found, 10.0) == pytest.approx(4.0)
    assert back_s(found, 14.5) == 0.0
    assert back_s([], 10.0) == 0.0


def test_nothing_but_another_voice_is_one_hole() -> None:
    assert holes(presence(VOICE, recorded(OTHER)), BEGAN_S) == [Hole(BEGAN_S, None)]
