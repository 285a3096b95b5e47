"""When a voice comes back: found in other sounds, not found where it is not."""

import numpy as np
import pytest

from intercomd.demo.listen import read_wav
from intercomd.demo.returning import BLOCK_S, returns_s
from intercomd.demo.sound import sentence
from intercomd.media.pcm import RATE_HZ, Pcm

VOICE, OTHER = read_wav(sentence(0)), read_wav(sentence(1))


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * RATE_HZ), np.int16)


def tone(seconds: float) -> Pcm:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)


def test_it_is_found_after_silence_never_too_early() -> None:
    room = np.concatenate([silence(2.0), VOICE[RATE_HZ : 3 * RATE_HZ]])
    found = returns_s(VOICE, room, 0.0)
    assert found is not None
    assert 2.0 < found <= 2.0 + 2 * BLOCK_S


def test_a_tone_and_another_voice_are_not_it() -> None:
    room = np.concatenate([tone(1.0), OTHER[: 3 * RATE_HZ], tone(1.0)])
    assert returns_s(VOICE, room, 0.0) is None


def test_what_was_heard_before_does_not_count() -> None:
    room = np.concatenate([VOICE[: 2 * RATE_HZ], silence(3.0), VOICE[: 2 * RATE_HZ]])
    found = returns_s(VOICE, room, 2.3)
    assert found == pytest.approx(5.4, abs=2 * BLOCK_S)
    assert found is not None
    assert found > 5.0


def test_it_may_be_soft_and_noisy() -> None:
    noise = np.random.default_rng(1).normal(0, 100, 3 * RATE_HZ)
    room = (np.concatenate([silence(1.0), VOICE[: 2 * RATE_HZ]]) * 0.2 + noise).astype(np.int16)
    found = returns_s(VOICE, room, 0.0)
    assert found is not None
    assert 1.0 < found < 2.0


def test_nothing_recorded_is_nothing_found() -> None:
    assert returns_s(VOICE, silence(0.1), 0.0) is None
    assert returns_s(silence(0.1), VOICE, 0.0) is None
