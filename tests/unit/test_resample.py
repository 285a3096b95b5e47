"""The resampler: as many frames as asked for, at the right places, clean, and without a step when it comes and goes."""

import numpy as np
import numpy.typing as npt
import pytest

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from intercomd.media.resample import LOOK_AHEAD_FRAMES, Resampler

Wave = npt.NDArray[np.float64]


def tone(pitch_hz: float, rate_hz: float, frames: int, peak: float = 16000.0) -> Pcm:
    wave: Wave = peak * np.sin(2 * np.pi * pitch_hz * np.arange(frames) / rate_hz)
    return np.rint(wave).astype(np.int16)


def resampled(sound: Pcm, resampler: Resampler, block: int = PERIOD_FRAMES) -> Pcm:
    out = []
    for at in range(0, len(sound), block):
        resampler.put(sound[at : at + block])
        out.append(resampler.take(resampler.ready))
    return np.concatenate(out)


def distortion_db(sound: Pcm, pitch_hz: float, rate_hz: float) -> float:
    """THD+N: what is left beside the fitted sine, against it."""
    t = np.arange(len(sound)) / rate_hz
    basis = np.stack([np.sin(2 * np.pi * pitch_hz * t), np.cos(2 * np.pi * pitch_hz * t)], 1)
    fitted: Wave = basis @ np.linalg.lstsq(basis, sound.astype(float), rcond=None)[0]
    return float(10 * np.log10(np.var(sound - fitted) / np.var(fitted)))


@pytest.mark.parametrize("ppm", [-1000, -200, 50, 1000])
@pytest.mark.parametrize("pitch_hz", [100.0, 1000.0, 8000.0, 18000.0])
def test_a_voice_by_another_crystal_stays_as_clean_as_16_bits_are(ppm: int, pitch_hz: float) -> None:
    step = 1 + ppm / 1e6
    out = resampled(tone(pitch_hz, RATE_HZ, RATE_HZ), Resampler(step))
    assert distortion_db(out[100:], pitch_hz * step, RATE_HZ) < -88


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48000, 44100), (44100, 48000), (48000, 16000), (16000, 48000)])
@pytest.mark.parametrize("pitch_hz", [300.0, 1000.0, 6000.0])
def test_a_card_of_another_rate_hears_and_says_the_same(from_hz: int, to_hz: int, pitch_hz: float) -> None:
    out = resampled(tone(pitch_hz, from_hz, from_hz), Resampler(from_hz / to_hz), from_hz // 100)
    assert len(out) == pytest.approx(to_hz, abs=100 * to_hz / from_hz)
    assert distortion_db(out[300:], pitch_hz, to_hz) < -85


def test_what_a_slower_card_cannot_carry_is_not_folded_into_the_voice() -> None:
    out = resampled(tone(11000.0, RATE_HZ, RATE_HZ), Resampler(3.0))
    assert np.abs(out[300:]).max() <= 2  # 11 kHz would be heard as 5 kHz at 16 kHz


def test_gives_exactly_what_is_asked_for_and_says_what_it_needs() -> None:
    resampler = Resampler(1.0003)
    taken = 0
    for _ in range(500):
        missing = resampler.missing(PERIOD_FRAMES)
        resampler.put(np.zeros(missing, np.int16))
        taken += missing
        assert resampler.missing(PERIOD_FRAMES) == 0
        assert len(resampler.take(PERIOD_FRAMES)) == PERIOD_FRAMES
    assert taken == pytest.approx(500 * PERIOD_FRAMES * 1.0003 + LOOK_AHEAD_FRAMES, abs=1)


def test_takes_nothing_that_is_not_there() -> None:
    resampler = Resampler()
    resampler.put(np.zeros(100, np.int16))
    assert resampler.ready == 100 - LOOK_AHEAD_FRAMES
    with pytest.raises(ValueError, match="16 more must be put"):
        resampler.take(100)
    assert Resampler().missing(0) == 0


def test_comes_into_the_path_and_leaves_it_without_a_step() -> None:
    """At a whole position it is the identity: what it gives goes on where the bare voice ended."""
    sound = tone(997.0, RATE_HZ, 10 * PERIOD_FRAMES)
    resampler = Resampler(1.0, before=sound[:PERIOD_FRAMES])
    resampler.put(sound[PERIOD_FRAMES:])
    assert np.abs(resampler.take(8 * PERIOD_FRAMES).astype(int) - sound[PERIOD_FRAMES : 9 * PERIOD_FRAMES]).max() <= 1


def test_a_ratio_that_changes_makes_no_click() -> None:
    """The phase is continuous: no frame departs from its neighbours more than the tone itself does."""
    resampler, out, sound = Resampler(), [], tone(400.0, RATE_HZ, 300 * PERIOD_FRAMES)
    at = 0
    for turn in range(250):
        resampler.step = 1 + 500e-6 * np.sin(turn)
        missing = resampler.missing(PERIOD_FRAMES)
        resampler.put(sound[at : at + missing])
        at += missing
        out.append(resampler.take(PERIOD_FRAMES))
    curvature = np.abs(np.diff(np.concatenate(out)[100:].astype(float), 2))
    assert curvature.max() < 16000 * (2 * np.pi * 400 / RATE_HZ) ** 2 + 3


def test_full_scale_is_clipped_and_never_wraps() -> None:
    square = np.where(np.arange(4800) // 40 % 2, 32767, -32768).astype(np.int16)
    out = resampled(square, Resampler(1.0005))
    assert out.max() == 32767
    assert out.min() == -32768
    assert np.mean(np.sign(out[100:].astype(int)) == 0) < 0.01
