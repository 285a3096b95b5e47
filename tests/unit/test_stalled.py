"""What feeds systemd's watchdog: both audio threads move."""

import asyncio
from types import SimpleNamespace

import pytest

from intercomd.device import health
from intercomd.device.health import STALLED_S, Stalled, _look
from intercomd.fakes.supervisor import FakeSupervisor


@pytest.mark.parametrize("hung", ["playout", "capture"])
def test_each_thread_that_stands_still_is_found_and_named(hung: str) -> None:
    turns, seen = {"playout": 7, "capture": 3}, {}
    moving = "capture" if hung == "playout" else "playout"
    for passed_s in (0.0, 1.0, STALLED_S - 1.0):
        turns[moving] += 1
        _look(dict(turns), seen, passed_s)
    with pytest.raises(Stalled, match=f"the {hung} thread"):
        _look({**turns, moving: turns[moving] + 1}, seen, 0.1)


def test_a_thread_that_is_slow_but_moves_is_left_alone() -> None:
    seen: dict[str, tuple[int, float]] = {}
    for count in range(10):
        _look({"capture": count}, seen, STALLED_S)


async def test_a_process_that_was_stopped_for_a_while_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP and SIGCONT, or a machine without a moment for us: nothing moved, this task neither."""
    clock_s, looks = [0.0], 0

    async def slept(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        clock_s[0] += 60.0
        if looks == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    monkeypatch.setattr(health, "asyncio", SimpleNamespace(sleep=slept))
    with pytest.raises(asyncio.CancelledError):
        await health.watch(lambda: {"playout": 1}, lambda: None, FakeSupervisor(), lambda: None)
    assert looks == 2
