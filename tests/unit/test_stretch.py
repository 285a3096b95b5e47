"""Voice made shorter and longer by periods of its pitch: nobody hears where."""

import numpy as np
import pytest

from intercomd.media.pcm import Pcm
from intercomd.media.stretch import LEAST_LAG, MOST_LAG, lengthened, shortened
from tests.unit.sounds import correlation, speech


def vowel(pitch_hz: float, frames: int, first: int = 0) -> Pcm:
    at = np.arange(first, first + frames)
    wave = sum(np.sin(2 * np.pi * pitch_hz * harmonic * at / 48_000) / harmonic for harmonic in range(1, 9))
    return (4000 * wave).astype(np.int16)


def noise(frames: int, peak: int) -> Pcm:
    return np.random.default_rng(1).integers(-peak, peak, frames).astype(np.int16)


@pytest.mark.parametrize("pitch_hz", [80, 120, 200, 350])
def test_a_vowel_loses_whole_periods_and_goes_on_in_step(pitch_hz: float) -> None:
    pcm = vowel(pitch_hz, 960)
    result = shortened(pcm, MOST_LAG)
    gone = len(pcm) - len(result)
    period = 48_000 / pitch_hz
    assert gone >= LEAST_LAG
    assert abs(gone / period - round(gone / period)) < 0.03
    assert correlation(result, vowel(pitch_hz, len(result))) > 0.99


@pytest.mark.parametrize("pitch_hz", [80, 120, 200, 350])
def test_a_vowel_gains_whole_periods_and_goes_on_in_step(pitch_hz: float) -> None:
    pcm = vowel(pitch_hz, 960)
    result = lengthened(pcm, MOST_LAG)
    assert len(result) - len(pcm) >= LEAST_LAG
    assert correlation(result, vowel(pitch_hz, len(result))) > 0.99


@pytest.mark.parametrize("change", [shortened, lengthened])
def test_it_begins_and_ends_like_what_it_was_made_of(change: object) -> None:
    pcm = (vowel(150, 960, first=20) * np.linspace(0.6, 1.2, 960)).astype(np.int16)
    result = change(pcm, MOST_LAG)  # type: ignore[operator]
    assert len(result) != 960
    assert np.array_equal(result[:2], pcm[:2])
    assert np.array_equal(result[-200:], pcm[-200:])
    steps = np.abs(np.diff(result.astype(int)))
    assert steps.max() <= np.abs(np.diff(pcm.astype(int))).max() * 1.1


@pytest.mark.parametrize("change", [shortened, lengthened])
def test_what_is_not_alike_is_left_as_it_is(change: object) -> None:
    pcm = noise(960, 8000)
    assert change(pcm, MOST_LAG) is pcm  # type: ignore[operator]


def test_in_a_pause_any_place_will_do() -> None:
    assert len(shortened(noise(960, 200), 500)) == 460
    assert len(lengthened(noise(960, 200), 500)) == 1460


def test_never_more_than_was_asked_for() -> None:
    for most in range(0, 800, 37):
        gone = 960 - len(shortened(vowel(300, 960), most))
        assert gone == 0 if most < LEAST_LAG else gone <= most


@pytest.mark.parametrize("frames", [0, 120, 240, 359, 360, 480, 2880, 5760])
def test_packets_of_any_length(frames: int) -> None:
    pcm = vowel(200, frames)
    assert len(shortened(pcm, MOST_LAG)) <= frames <= len(lengthened(pcm, MOST_LAG)) <= frames + MOST_LAG


def test_in_a_hurry_more_passes_for_alike() -> None:
    voice = speech(1, 96_000)
    parts = [voice[at : at + 960] for at in range(0, 96_000, 960)]
    calm, hurried = (
        sum(len(shortened(part, MOST_LAG, hurry=hurry)) < 960 for part in parts) for hurry in (False, True)
    )
    assert calm > 20
    assert hurried > calm
