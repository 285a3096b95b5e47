"""How the voice is coded for the path that it takes."""

import pytest

from intercomd.media.sending import Sending, affordable, expected_loss_percent, reported


def after(*losses: float) -> Sending:
    sending = Sending()
    for loss in losses:
        sending = reported(sending, loss)
    return sending


def test_copies_are_sent_before_anything_was_reported() -> None:
    assert Sending().copies


def test_a_clean_path_needs_none() -> None:
    assert after(*[0.0] * 14).copies
    assert not after(*[0.0] * 15).copies


def test_the_first_loss_brings_them_back_for_as_long() -> None:
    again = after(*[0.0] * 20, 0.02)
    assert again.copies
    for _ in range(14):
        again = reported(again, 0.0)
    assert again.copies


def test_a_little_loss_is_neither_clean_nor_worth_copies() -> None:
    assert after(*[0.01] * 100).copies
    assert not after(*[0.0] * 15, *[0.01] * 100).copies


@pytest.mark.parametrize(("bitrate_bps", "percent"), [(6_000, 10), (28_000, 10), (36_000, 5), (48_000, 3), (64_000, 3)])
def test_as_little_loss_is_expected_as_brings_copies(bitrate_bps: int, percent: int) -> None:
    assert expected_loss_percent(Sending(), bitrate_bps) == percent
    assert expected_loss_percent(Sending(copies=False), bitrate_bps) == 0


def test_effort_goes_down_step_by_step_and_not_below_nothing() -> None:
    assert affordable(6, 0.003, 0.020) == 6
    assert affordable(6, 0.0031, 0.020) == 5
    assert affordable(5, 1.0, 0.020) == 4
    assert affordable(0, 1.0, 0.020) == 0
