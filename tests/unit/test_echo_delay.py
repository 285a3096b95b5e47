"""The echo's delay, found in speech and in the chirp, and never in what is no echo."""

import numpy as np
import pytest

from intercomd.media.echo_delay import CHIRP_S, EchoDelay, chirp
from intercomd.media.narrow import Narrower
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from tests.unit.sounds import speech

TOLERATED_FRAMES = RATE_HZ // 2000


def echo(sound: Pcm, delay_frames: int, seed: int = 1) -> Pcm:
    """In a room that rings, at −12 dB, with a little noise."""
    dice = np.random.default_rng(seed)
    tail = dice.normal(0, 0.02, 9600) * np.exp(-np.arange(9600) / 2400)
    tail[0] = 1.0
    room = np.concatenate([np.zeros(delay_frames), 0.25 * tail])
    size = 1 << (len(sound) + len(room)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(room, size), size)[: len(sound)]
    return (heard + dice.normal(0, 15, len(sound))).astype(np.int16)


def listened(reference: Pcm, captured: Pcm) -> EchoDelay:
    delay, narrower = EchoDelay(), Narrower(2)
    for at in range(0, len(reference) - PERIOD_FRAMES + 1, PERIOD_FRAMES):
        played, heard = narrower(reference[at : at + PERIOD_FRAMES], captured[at : at + PERIOD_FRAMES])
        delay.see(played, heard)
    return delay


@pytest.mark.parametrize("delay_ms", [5, 40, 120, 300])
def test_speech_tells_the_delay_within_two_seconds(delay_ms: int) -> None:
    frames = delay_ms * RATE_HZ // 1000
    said = speech(2, 2 * RATE_HZ)
    assert listened(said, echo(said, frames)).delay_frames == pytest.approx(frames, abs=TOLERATED_FRAMES)


@pytest.mark.parametrize("delay_ms", [20, 200])
def test_one_chirp_is_enough_before_anybody_speaks(delay_ms: int) -> None:
    frames = delay_ms * RATE_HZ // 1000
    played = np.zeros(RATE_HZ, np.int16)
    played[4800 : 4800 + len(chirp())] = chirp()
    assert listened(played, echo(played, frames)).delay_frames == pytest.approx(frames, abs=TOLERATED_FRAMES)


def test_two_people_who_speak_at_once_are_no_echo() -> None:
    for seed in range(5):
        delay = listened(speech(10 + seed, 4 * RATE_HZ), speech(20 + seed, 4 * RATE_HZ))
        assert delay.delay_frames is None


def test_without_a_far_end_nothing_is_found() -> None:
    assert listened(np.zeros(2 * RATE_HZ, np.int16), speech(1, 2 * RATE_HZ)).delay_frames is None


def test_a_delay_that_changes_is_followed() -> None:
    said = speech(4, 6 * RATE_HZ)
    heard = np.concatenate([echo(said, 2400)[: 3 * RATE_HZ], echo(said, 4800)[3 * RATE_HZ :]])
    assert listened(said, heard).delay_frames == pytest.approx(4800, abs=TOLERATED_FRAMES)


def test_the_chirp_is_short_soft_and_whole_periods() -> None:
    sound = chirp()
    assert len(sound) % PERIOD_FRAMES == 0
    assert len(sound) == round(CHIRP_S * RATE_HZ)
    assert np.abs(sound).max() < 32768 * 10 ** (-25 / 20)
    assert abs(int(sound[0])) < 50
    assert abs(int(sound[-1])) < 50
