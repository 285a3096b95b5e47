"""Ages survive a clock that jumps by a year, as long as the machine was not switched off."""

from intercomd.flash.instant import Instant

THEN = Instant(wall_s=1000.0, boot_id="one", since_boot_s=50.0)
YEAR_S = 365 * 86400.0


def test_within_a_boot_the_boot_clock_counts_whatever_the_wall_clock_does() -> None:
    for jump_s in (-YEAR_S, 0.0, YEAR_S):
        assert Instant(1002.0 + jump_s, "one", 52.0).since(THEN) == 2.0


def test_over_a_boot_no_clock_is_believed() -> None:
    for wall_s in (1030.0, 999.0, 1000.0 + YEAR_S):
        assert Instant(wall_s, "two", 53.0).since(THEN) is None


def test_now_is_not_before_a_moment_ago() -> None:
    before = Instant.now()
    age_s = Instant.now().since(before)
    assert age_s is not None
    assert 0.0 <= age_s < 60.0
