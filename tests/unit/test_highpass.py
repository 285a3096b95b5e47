"""The microphone's high-pass against the recursion it stands for, and what it does to voices and to hum."""

import math

import numpy as np
import pytest

from intercomd.media.highpass import CORNER_HZ, HighPass
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm


def filtered(sound: Pcm) -> Pcm:
    highpass = HighPass()
    return np.concatenate([highpass(period) for period in sound.reshape(-1, PERIOD_FRAMES)])


def tone(pitch_hz: float) -> Pcm:
    return (10_000 * np.sin(2 * np.pi * pitch_hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)


def passed_db(pitch_hz: float) -> float:
    before, after = (wave[RATE_HZ // 2 :].astype(float) for wave in (tone(pitch_hz), filtered(tone(pitch_hz))))
    return float(10 * np.log10(np.mean(after**2) / np.mean(before**2)))


def test_is_the_plain_recursion_frame_by_frame() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 20 * PERIOD_FRAMES).astype(np.int16)
    w = math.tan(math.pi * CORNER_HZ / RATE_HZ)
    norm = 1 + math.sqrt(2) * w + w * w
    b, a1, a2 = 1 / norm, 2 * (w * w - 1) / norm, (1 - math.sqrt(2) * w + w * w) / norm
    one = two = 0.0
    plain = []
    for frame in noise.astype(float):
        out = b * frame + one
        one, two = -2 * b * frame - a1 * out + two, b * frame - a2 * out
        plain.append(out)
    assert np.abs(np.array(plain) - filtered(noise)).max() <= 0.51, "rounding and nothing else"


@pytest.mark.parametrize(("pitch_hz", "least_db", "most_db"), [(50, -12, -9), (90, -3.3, -2.7), (200, -0.3, 0.1)])
def test_takes_the_hum_and_leaves_the_voice(pitch_hz: float, least_db: float, most_db: float) -> None:
    assert least_db <= passed_db(pitch_hz) <= most_db


def test_full_scale_does_not_wrap_around() -> None:
    edge = np.concatenate([np.full(PERIOD_FRAMES * 4, -32768), np.full(PERIOD_FRAMES * 4, 32767)]).astype(np.int16)
    assert np.all(filtered(edge)[PERIOD_FRAMES * 4 :][:10] > 30_000), "a jump of two full scales is clipped"
