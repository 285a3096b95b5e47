"""From 48 to 16 kHz and back: what a voice is made of comes through, later by what is told, and nothing is mirrored."""

import numpy as np

from intercomd.media.narrow import LATE_FRAMES, NARROW_FRAMES, NARROW_HZ, Narrower, Widener
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ


def tone(frequency_hz: float, rate_hz: int = RATE_HZ, late_frames: float = 0) -> np.ndarray:
    return 8000 * np.sin(2 * np.pi * frequency_hz * (np.arange(rate_hz) - late_frames) / rate_hz)


def narrowed(sound: np.ndarray, other: np.ndarray) -> np.ndarray:
    narrower = Narrower(2)
    pairs = zip(sound.reshape(-1, PERIOD_FRAMES), other.reshape(-1, PERIOD_FRAMES), strict=True)
    return np.concatenate([narrower(*pair) for pair in pairs], axis=1)


def off_db(sound: np.ndarray, right: np.ndarray) -> float:
    """The first and last tenth of a second apart."""
    inside = slice(len(sound) // 10, -len(sound) // 10)
    return float(10 * np.log10(np.mean((sound - right)[inside] ** 2) / np.mean(right[inside] ** 2) + 1e-12))


def test_two_channels_come_through_later_by_what_is_told() -> None:
    low, high = narrowed(tone(300), tone(4000))
    late = LATE_FRAMES / (RATE_HZ / NARROW_HZ)
    assert off_db(low, tone(300, NARROW_HZ, late)) < -40
    assert off_db(high, tone(4000, NARROW_HZ, late)) < -40


def test_what_16_khz_cannot_hold_is_not_mirrored_into_it() -> None:
    beyond, within = narrowed(tone(11_000), tone(3000))
    assert np.sqrt(np.mean(beyond**2)) < np.sqrt(np.mean(within**2)) / 100


def test_back_again_is_the_same_sound() -> None:
    narrow, _ = narrowed(tone(3000), tone(300))
    widener = Widener()
    wide = np.concatenate([widener(part) for part in narrow.astype(np.float32).reshape(-1, NARROW_FRAMES)])
    assert off_db(wide, tone(3000, late_frames=2 * LATE_FRAMES)) < -40
