"""The judge of the benchmark `recovery`: which silence is a hole, from when on a voice is back, what is a miss."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from intercomd.demo.listen import read_wav
from intercomd.demo.sound import sentence
from intercomd.media.pcm import RATE_HZ, Pcm
from tests.bench.recovery.judge import Hole, back_s, holes, longest_hole_s, presence, share
from tests.bench.recovery.rows import killed, one_call
from tests.bench.recovery.trial import Ground, Trial
from tests.bench.report import is_valid
from tests.bench.sounds import Dated, without_pauses

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


RIG = SimpleNamespace(stations=["door", "flat", "stock_door", "stock_flat"])
GROUND = Ground(cast(Any, SimpleNamespace(rig=RIG)), Path())


def survived(*, heard_s: float, call_ids: tuple[str, ...] = ("a", "a")) -> Trial:
    """A trial of 6 s whose fault at 2 s silences both until 3 s; after `heard_s` both are silent for good."""
    made = Trial("a", begun_s=BEGAN_S, fault_s=BEGAN_S + 2, since_s=BEGAN_S + 2, end_s=BEGAN_S + 6, call_ids=call_ids)
    for who, voice in {"door": OTHER, "flat": VOICE}.items():
        whole = np.tile(voice, 3)[: 6 * RATE_HZ].copy()
        whole[2 * RATE_HZ : 3 * RATE_HZ] = 0
        whole[round(heard_s * RATE_HZ) :] = 0
        made.heard[who] = Dated(recorded(whole), BEGAN_S)
    return made


def test_the_later_end_and_the_worst_call_are_told() -> None:
    worst, calls = killed("killed", GROUND, [survived(heard_s=6)], {"a": 1})
    assert (worst.ours, worst.ok) == (pytest.approx(1.0, abs=0.05), True)
    assert (calls.ours, calls.ok) == (1, True)


def test_a_call_that_stays_silent_is_a_miss_and_no_figure() -> None:
    worst, _ = killed("killed", GROUND, [survived(heard_s=6), survived(heard_s=4)], {"a": 1})
    assert (worst.ours, worst.ok, worst.target) == (None, False, "≤ 3")
    assert "1 of 2 did not come back" in worst.reason
    assert is_valid([worst]), "a miss is a result"


@pytest.mark.parametrize(("ids", "records"), [(("a", "b"), 1), (("a", ""), 1), (("a", "a"), 2), (("a", "a"), 0)])
def test_another_call_or_another_number_of_records_is_a_miss(ids: tuple[str, ...], records: int) -> None:
    calls = one_call("killed", [Trial("a", call_ids=ids)], {"a": records})
    assert (calls.ours, calls.ok) == (0, False)
