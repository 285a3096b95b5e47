"""Timestamps that only grow, silence that fills, pauses that keep their length."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from intercomd.media.timeline import Timeline


def test_voice_keeps_the_distances_of_capture() -> None:
    timeline = Timeline(0.0)
    stamps = [timeline.voice(at, 960, now) for at, now in ((4800, 0.0), (5760, 0.02), (8640, 0.08), (9600, 0.1))]
    assert stamps == [0, 960, 3840, 4800]


def test_silence_is_paced_by_the_clock() -> None:
    timeline, now_s, stamps = Timeline(10.0), 10.0, []
    for _ in range(50):
        now_s = max(now_s, timeline.due_s)
        stamps.append(timeline.silence(960, now_s))
    assert stamps == [number * 960 for number in range(50)]
    assert abs(now_s - 10.98) < 1e-6


def test_silence_waits_while_voice_comes() -> None:
    timeline = Timeline(0.0)
    for number in range(100):
        now_s = number * 0.02
        timeline.voice(number * 960, 960, now_s)
        assert timeline.due_s >= now_s + 0.04


def test_when_voice_stops_the_pause_keeps_its_length() -> None:
    timeline = Timeline(0.0)
    timeline.voice(0, 960, 1.0)
    assert timeline.silence(960, 1.06) == 3 * 960
    assert timeline.silence(960, 1.08) == 4 * 960


def test_voice_after_silence_goes_on_at_once() -> None:
    timeline = Timeline(0.0)
    timeline.voice(0, 960, 0.0)
    timeline.silence(960, 0.06)
    assert timeline.voice(777_777, 960, 0.07) == 4 * 960
    assert timeline.voice(777_777 + 960, 960, 0.09) == 5 * 960


def test_a_capture_count_that_begins_anew_goes_on_after_the_last_one() -> None:
    timeline = Timeline(0.0)
    assert [timeline.voice(at, 960, 0.0) for at in (96_000, 96_960, 0, 960)] == [0, 960, 1920, 2880]


def test_a_stalled_loop_skips_instead_of_sending_a_burst() -> None:
    timeline = Timeline(0.0)
    timeline.silence(960, 0.0)
    assert timeline.silence(960, 1.02) == 51 * 960
    assert timeline.due_s > 1.02


def test_packets_of_any_length_follow_each_other_without_a_gap() -> None:
    timeline = Timeline(0.0)
    lengths = [960, 960, 480, 480, 480, 960, 480, 960]
    at = [sum(lengths[:number]) for number in range(len(lengths))]
    stamps = [timeline.voice(48_000 + begin, length, begin / 48_000) for begin, length in zip(at, lengths, strict=True)]
    assert stamps == at


def test_silence_after_short_packets_keeps_the_length_of_the_pause() -> None:
    """Packets leave when they end: 10 ms until 1.00 s, nothing, then 20 ms of silence until 1.06 s."""
    timeline = Timeline(0.9)
    timeline.voice(0, 480, 1.0)
    assert timeline.silence(960, 1.06) == 480 + 2 * 960
    assert timeline.voice(99_999, 480, 1.08) == 480 + 3 * 960


steps = st.tuples(st.booleans(), st.floats(0, 0.5), st.integers(0, 4), st.sampled_from([480, 960]))


@given(st.lists(steps, max_size=100))
def test_timestamps_always_grow(steps: list[tuple[bool, float, int, int]]) -> None:
    """By what was sent at least, whatever the lengths."""
    timeline, now_s, at, sent = Timeline(0.0), 0.0, 0, [(0, 0)]
    for talking, pause_s, dropped, frames in steps:
        now_s += pause_s
        if talking:
            at += frames * dropped
            sent.append((timeline.voice(at, frames, now_s), frames))
            at += frames
        elif now_s >= timeline.due_s:
            sent.append((timeline.silence(frames, now_s), frames))
    assert all(later - earlier >= frames for (earlier, frames), (later, _) in pairwise(sent))
