"""What feeds systemd's watchdog: both audio threads move."""

import pytest

from intercomd.device.health import STALLED_S, Stalled, _look


@pytest.mark.parametrize("hung", ["playout", "capture"])
def test_each_thread_that_stands_still_is_found_and_named(hung: str) -> None:
    turns, seen = {"playout": 7, "capture": 3}, {}
    moving = "capture" if hung == "playout" else "playout"
    for now_s in (0.0, 1.0, STALLED_S):
        turns[moving] += 1
        _look(dict(turns), seen, now_s)
    with pytest.raises(Stalled, match=f"the {hung} thread"):
        _look({**turns, moving: turns[moving] + 1}, seen, STALLED_S + 0.1)


def test_a_thread_that_is_slow_but_moves_is_left_alone() -> None:
    seen: dict[str, tuple[int, float]] = {}
    for count in range(10):
        _look({"capture": count}, seen, count * STALLED_S)
