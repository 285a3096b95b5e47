"""A station's clock on a machine whose own clock starts anywhere and jumps by a year, both ways."""

import pytest

from intercomd import RELEASED_S
from intercomd.device.clock import StationClock

YEAR_S = 365 * 86400.0
NOW_S = RELEASED_S + YEAR_S


class Machine:
    def __init__(self, wall_s: float) -> None:
        self.wall_s = wall_s
        self.up_s = 50.0

    def clock(self, kept_at_s: float | None = None) -> StationClock:
        clock = StationClock(lambda: self.wall_s, lambda: self.up_s)
        if kept_at_s is not None:
            clock.not_before(kept_at_s)
        return clock


def test_a_wall_clock_before_what_is_known_is_not_believed() -> None:
    assert Machine(0.0).clock().now_s() == RELEASED_S
    assert Machine(NOW_S - YEAR_S).clock(NOW_S).now_s() == NOW_S
    assert Machine(NOW_S + 5).clock(NOW_S).now_s() == NOW_S + 5


@pytest.mark.parametrize("jump_s", [-YEAR_S, YEAR_S])
def test_a_wall_clock_that_jumps_moves_nothing(jump_s: float) -> None:
    machine = Machine(NOW_S)
    clock = machine.clock()
    machine.wall_s += jump_s
    machine.up_s += 3.0
    assert clock.now_s() == NOW_S + 3.0


@pytest.mark.parametrize("off_s", [-YEAR_S / 2, YEAR_S])
def test_the_hubs_time_is_followed_and_the_shift_is_told_once(off_s: float) -> None:
    machine = Machine(NOW_S + off_s)
    clock = machine.clock()
    heard = clock.heard(NOW_S)
    machine.up_s += 4.0  # it waited behind a slow write
    assert clock.follow(heard) == -off_s
    assert clock.now_s() == NOW_S + 4.0
    assert clock.follow(clock.heard(NOW_S + 4.5)) is None
    assert clock.now_s() == NOW_S + 4.0, "within the drift nothing moves"


def test_a_hub_without_a_time_is_not_followed() -> None:
    clock = Machine(NOW_S).clock()
    assert clock.follow(clock.heard(1000.0)) is None
    assert clock.now_s() == NOW_S


def test_a_floor_from_a_wrong_clock_does_not_outlive_the_hubs_word() -> None:
    clock = Machine(NOW_S).clock(NOW_S + YEAR_S)
    assert clock.follow(clock.heard(NOW_S)) == -YEAR_S
    assert clock.now_s() == NOW_S


def test_what_is_known_is_this_version_until_the_hub_has_spoken() -> None:
    machine = Machine(0.0)
    clock = machine.clock(NOW_S + YEAR_S)
    assert (clock.known().at_s, clock.known().exact) == (RELEASED_S, False)
    assert clock.known().contradicts(machine.wall_s)
    assert not clock.known().contradicts(NOW_S), "a wrong time that was once kept locks nobody out"
    clock.follow(clock.heard(NOW_S + 60))
    assert (clock.known().at_s, clock.known().exact) == (NOW_S + 60, True)
    assert clock.known().contradicts(NOW_S + YEAR_S)
    assert not clock.known().contradicts(NOW_S)


def test_a_clock_that_was_never_set_goes_on_all_the_same() -> None:
    machine = Machine(0.0)
    clock = machine.clock(NOW_S)
    machine.up_s += 100.0
    clock.rest()
    assert clock.now_s() == NOW_S + 100.0


def test_at_rest_a_time_servers_correction_is_taken_until_a_hub_has_spoken() -> None:
    machine = Machine(NOW_S)
    clock = machine.clock()
    machine.wall_s = NOW_S + YEAR_S
    clock.rest()
    assert clock.now_s() == NOW_S + YEAR_S
    clock.follow(clock.heard(NOW_S))
    clock.rest()
    assert clock.now_s() == NOW_S
