"""Tones: what a standard says, what people must tell apart, and nothing that hurts."""

from itertools import combinations

import numpy as np
import pytest

from intercomd.core.effects import Jingle, Tone
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from intercomd.media.tones import PEAK_DBFS, jingle_of, loop_of

SOUNDS = {**{str(tone): loop_of(tone) for tone in Tone}, **{f"jingle {name}": jingle_of(name) for name in Jingle}}
ERRORS = [
    Tone.ERROR_NOT_ALLOWED,
    Tone.ERROR_NOT_FOUND,
    Tone.ERROR_NETWORK,
    Tone.ERROR_TIMEOUT,
    Tone.ERROR_UNKNOWN,
]


def bursts(sound: Pcm) -> list[tuple[float, float]]:
    """Begin and length in seconds of each stretch of sound, by windows of 5 ms."""
    loud = np.abs(sound.reshape(-1, 240)).max(axis=1) > 50
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False])).astype(int)))
    return [(begin * 0.005, (end - begin) * 0.005) for begin, end in edges.reshape(-1, 2)]


def pitch_hz(sound: Pcm) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound.astype(float))))) * RATE_HZ / len(sound)


@pytest.mark.parametrize("name", SOUNDS)
def test_every_sound_is_whole_periods_limited_read_only_and_begins_at_once(name: str) -> None:
    sound = SOUNDS[name]
    assert sound.dtype == np.int16
    assert len(sound) % PERIOD_FRAMES == 0
    assert not sound.flags.writeable
    assert 0.02 < np.abs(sound.astype(int)).max() / 32768 <= 10 ** (PEAK_DBFS / 20)
    assert np.abs(sound[:PERIOD_FRAMES]).max() > 50  # the first edge is the event's


@pytest.mark.parametrize("name", SOUNDS)
def test_no_sound_clicks(name: str) -> None:
    """A step at an end or between two notes is what clicks: each stretch begins and ends near zero."""
    sound = SOUNDS[name].astype(int)
    peak = np.abs(sound).max()
    for begin_s, length_s in bursts(SOUNDS[name]):
        begin, end = round(begin_s * RATE_HZ), round((begin_s + length_s) * RATE_HZ)
        assert np.abs(sound[begin : begin + 5]).max() < 0.02 * peak
        assert np.abs(sound[max(0, end - 5) : end + 5]).max() < 0.02 * peak


@pytest.mark.parametrize(("tone", "on_s", "turn_s"), [(Tone.RINGBACK, 1.0, 5.0), (Tone.BUSY, 0.5, 1.0)])
def test_ringback_and_busy_are_those_of_itu_t_e_180(tone: Tone, on_s: float, turn_s: float) -> None:
    sound = loop_of(tone)
    assert len(sound) == turn_s * RATE_HZ
    ((begin_s, length_s),) = bursts(sound)
    assert begin_s == 0
    assert length_s == pytest.approx(on_s, abs=0.01)
    assert pitch_hz(sound[: round(on_s * RATE_HZ)]) == pytest.approx(425, abs=2)


@pytest.mark.parametrize(("beeps", "tone"), list(enumerate(ERRORS, 1)))
def test_error_tones_count_out_the_kind_and_then_pause(beeps: int, tone: Tone) -> None:
    found = bursts(loop_of(tone))
    assert len(found) == beeps
    last_end_s = sum(found[-1])
    assert len(loop_of(tone)) / RATE_HZ - last_end_s > 1.0


def test_ringing_is_two_notes_and_rings_again_within_3_s() -> None:
    sound = loop_of(Tone.RINGING)
    assert pitch_hz(sound[: round(0.4 * RATE_HZ)]) > 1.2 * pitch_hz(sound[round(0.8 * RATE_HZ) : round(1.5 * RATE_HZ)])
    assert len(sound) <= 3 * RATE_HZ


def test_reconnecting_is_the_softest() -> None:
    peaks = {name: int(np.abs(sound.astype(int)).max()) for name, sound in SOUNDS.items()}
    assert min(peaks, key=lambda name: peaks[name]) == Tone.RECONNECTING


@pytest.mark.parametrize("jingle", list(Jingle))
def test_jingles_are_short(jingle: Jingle) -> None:
    """The microphone opens after `restored`, and nobody waits to speak."""
    assert len(jingle_of(jingle)) <= 0.3 * RATE_HZ


def test_no_two_loops_have_the_same_rhythm() -> None:
    rhythms = {tone: [round(part, 2) for burst in bursts(loop_of(tone)) for part in burst] for tone in Tone}
    for one, other in combinations(Tone, 2):
        assert rhythms[one] != rhythms[other] or len(loop_of(one)) != len(loop_of(other))
