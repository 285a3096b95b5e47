"""When silence is silence and when it is a loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercomd.media.watchdog import Limits, Pulse, Watchdog


def run(watchdog: Watchdog, arrivals: list[float], until_s: float) -> list[tuple[float, Pulse]]:
    """Feed every 0.1 s; returns the changes with their times."""
    changes = []
    for turn in range(round(until_s * 10) + 1):
        now_s = turn / 10
        pulse = watchdog.feed(now_s, sum(arrival <= now_s for arrival in arrivals))
        if pulse is not None:
            changes.append((now_s, pulse))
    return changes


def every(interval_s: float, start_s: float, end_s: float) -> list[float]:
    return [start_s + number * interval_s for number in range(round((end_s - start_s) / interval_s) + 1)]


def test_before_the_first_packet_it_says_nothing() -> None:
    assert run(Watchdog(), [], 30.0) == []


def test_silent_at_1_s_lost_at_3_s_and_up_again() -> None:
    arrivals = every(0.02, 1.0, 4.0) + every(0.02, 9.0, 10.0)
    assert run(Watchdog(), arrivals, 10.0) == [
        (1.0, Pulse.UP), (5.0, Pulse.SILENT), (7.0, Pulse.LOST), (9.0, Pulse.UP),
    ]  # fmt: skip


def test_a_short_gap_is_silent_then_up() -> None:
    arrivals = every(0.02, 0.0, 2.0) + every(0.02, 4.0, 5.0)
    assert run(Watchdog(), arrivals, 5.0)[1:] == [(3.0, Pulse.SILENT), (4.0, Pulse.UP)]


def test_gaps_under_a_second_are_nothing() -> None:
    assert run(Watchdog(), every(0.8, 0.0, 1.6) + every(0.02, 2.4, 5.0) + [5.9], 6.0) == [(0.0, Pulse.UP)]


def test_limits_are_configurable() -> None:
    changes = run(Watchdog(Limits(silent_s=0.5, lost_s=0.8)), [0.0, 0.1], 3.0)
    assert changes[1:] == [(0.6, Pulse.SILENT), (pytest.approx(0.9), Pulse.LOST)]


def test_a_sparse_peer_gets_longer_limits() -> None:
    """DTX: one packet in 400 ms."""
    changes = run(Watchdog(), every(0.4, 0.0, 4.0), 15.0)
    assert changes[1:] == [(10.0, Pulse.SILENT), (12.0, Pulse.LOST)]


def test_a_peer_that_died_at_once_is_not_taken_for_sparse() -> None:
    assert run(Watchdog(), [0.0], 4.0)[1:] == [(1.0, Pulse.SILENT), (3.0, Pulse.LOST)]


def test_a_peer_that_has_become_sparse_is_taken_for_sparse() -> None:
    changes = run(Watchdog(), every(0.02, 0.0, 4.0) + every(0.4, 4.4, 8.0), 20.0)
    assert changes[1:] == [(14.0, Pulse.SILENT), (16.0, Pulse.LOST)]


def test_a_peer_that_talks_again_is_not_sparse_any_more() -> None:
    arrivals = every(0.4, 0.0, 4.0) + every(0.02, 4.0, 8.0)
    assert run(Watchdog(), arrivals, 12.0)[1:] == [(9.0, Pulse.SILENT), (11.0, Pulse.LOST)]


def test_a_stalled_loop_says_silent_before_lost() -> None:
    watchdog = Watchdog()
    watchdog.feed(0.0, 1)
    assert watchdog.feed(10.0, 1) is Pulse.SILENT
    assert watchdog.feed(10.1, 1) is Pulse.LOST


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 60)), max_size=100))
def test_words_come_in_their_order(steps: list[tuple[float, int]]) -> None:
    watchdog, now_s, packets, last = Watchdog(), 0.0, 0, Pulse.WAITING
    allowed = {
        Pulse.WAITING: {Pulse.UP},
        Pulse.UP: {Pulse.SILENT},
        Pulse.SILENT: {Pulse.UP, Pulse.LOST},
        Pulse.LOST: {Pulse.UP},
    }
    for pause_s, more in steps:
        now_s, packets = now_s + pause_s, packets + more
        pulse = watchdog.feed(now_s, packets)
        if pulse is not None:
            assert pulse in allowed[last]
            last = pulse
        assert watchdog.pulse is last


def checked(packets: list[float], checks: list[float], until_s: float) -> list[tuple[float, Pulse]]:
    watchdog, changes = Watchdog(), []
    for turn in range(round(until_s * 10) + 1):
        now_s = turn / 10
        counts = (sum(at_s <= now_s for at_s in arrivals) for arrivals in (packets, checks))
        pulse = watchdog.feed(now_s, *counts)
        if pulse is not None:
            changes.append((now_s, pulse))
    return changes


def test_a_sparse_peer_that_asks_for_consent_is_there() -> None:
    """A muted browser: RTCP every 5 s at most, a check of consent every 5 s."""
    assert checked(every(0.4, 0.0, 4.0), every(5.0, 5.0, 60.0), 60.0) == [(0.0, Pulse.UP)]


def test_a_sparse_peer_without_any_sign_is_lost_after_its_last_check() -> None:
    assert checked(every(0.4, 0.0, 4.0), [7.0], 20.0)[1:] == [(13.0, Pulse.SILENT), (15.0, Pulse.LOST)]


def test_a_sparse_peers_check_after_a_silence_says_that_it_is_there() -> None:
    changes = checked(every(0.4, 0.0, 4.0), [11.0], 11.5)
    assert changes[1:] == [(10.0, Pulse.SILENT), (11.0, Pulse.UP)]


def test_a_dense_peers_checks_do_not_stand_for_its_voice() -> None:
    changes = checked(every(0.02, 0.0, 4.0), every(0.5, 0.0, 9.0), 9.0)
    assert changes[1:] == [(5.0, Pulse.SILENT), (7.0, Pulse.LOST)]
