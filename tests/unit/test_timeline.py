"""Timestamps that only grow, silence that fills, pauses that keep their length."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from intercomd.media.timeline import Timeline


def test_voice_keeps_the_distances_of_capture() -> None:
    timeline = Timeline(960, 0.0)
    stamps = [timeline.voice(at, now) for at, now in ((4800, 0.0), (5760, 0.02), (8640, 0.08), (9600, 0.1))]
    assert stamps == [0, 960, 3840, 4800]


def test_silence_is_paced_by_the_clock() -> None:
    timeline, now_s, stamps = Timeline(960, 10.0), 10.0, []
    for _ in range(50):
        now_s = max(now_s, timeline.due_s)
        stamps.append(timeline.silence(now_s))
    assert stamps == [number * 960 for number in range(50)]
    assert abs(now_s - 10.98) < 1e-6


def test_silence_waits_while_voice_comes() -> None:
    timeline = Timeline(960, 0.0)
    for number in range(100):
        now_s = number * 0.02
        timeline.voice(number * 960, now_s)
        assert timeline.due_s >= now_s + 0.04


def test_when_voice_stops_the_pause_keeps_its_length() -> None:
    timeline = Timeline(960, 0.0)
    timeline.voice(0, 1.0)
    assert timeline.silence(1.06) == 3 * 960
    assert timeline.silence(1.08) == 4 * 960


def test_voice_after_silence_goes_on_at_once() -> None:
    timeline = Timeline(960, 0.0)
    timeline.voice(0, 0.0)
    timeline.silence(0.06)
    assert timeline.voice(777_777, 0.07) == 4 * 960
    assert timeline.voice(777_777 + 960, 0.09) == 5 * 960


def test_a_capture_count_that_begins_anew_goes_on_after_the_last_one() -> None:
    timeline = Timeline(960, 0.0)
    assert [timeline.voice(at, 0.0) for at in (96_000, 96_960, 0, 960)] == [0, 960, 1920, 2880]


def test_a_stalled_loop_skips_instead_of_sending_a_burst() -> None:
    timeline = Timeline(960, 0.0)
    timeline.silence(0.0)
    assert timeline.silence(1.02) == 51 * 960
    assert timeline.due_s > 1.02


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 0.5), st.integers(0, 4)), max_size=100), st.sampled_from([480, 960])
)
def test_timestamps_always_grow(steps: list[tuple[bool, float, int]], frames: int) -> None:
    timeline, now_s, at, stamps = Timeline(frames, 0.0), 0.0, 0, []
    for talking, pause_s, dropped in steps:
        now_s += pause_s
        if talking:
            at += frames * (1 + dropped)
            stamps.append(timeline.voice(at, now_s))
        elif now_s >= timeline.due_s:
            stamps.append(timeline.silence(now_s))
    assert all(later - earlier >= frames for earlier, later in pairwise(stamps))
