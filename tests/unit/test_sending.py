"""How the voice is coded for the path that it takes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercomd.media.sending import (
    Coding,
    Report,
    Sending,
    Wanted,
    affordable,
    coding,
    expected_loss_percent,
    reported,
)

LAN = Report(loss=0.0, round_trip_s=0.002, jitter_s=0.001, cpu_ratio=0.13, takes_short=True)
AUTO = Wanted(frame_ms="auto")


def told(*reports: Report, sending: Sending | None = None) -> Sending:
    sending = sending or Sending()
    for report in reports:
        sending = reported(sending, report)
    return sending


def after(*losses: float) -> Sending:
    return told(*(Report(loss) for loss in losses))


# ------------------------------------------------------------------------------------------------ error correction


def test_copies_are_sent_before_anything_was_reported() -> None:
    assert Sending().copies


def test_a_clean_path_needs_none() -> None:
    assert after(*[0.0] * 14).copies
    assert not after(*[0.0] * 15).copies


def test_the_first_loss_brings_them_back_for_as_long() -> None:
    again = after(*[0.0] * 20, 0.02)
    assert again.copies
    again = told(*[Report()] * 14, sending=again)
    assert again.copies
    assert not reported(again, Report()).copies


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


# ------------------------------------------------------------------------------------------ situations as a whole

QUEUE = replace(LAN, round_trip_s=0.5)
BUSY = replace(LAN, cpu_ratio=0.9)
SITUATIONS = {
    "a call begins": ([], Coding(20, 48_000, 3, 6)),
    "a clean LAN, for a moment": ([LAN] * 14, Coding(20, 48_000, 3, 6)),
    "a clean LAN": ([LAN] * 15, Coding(10, 72_000, 0, 6)),
    "the peer says nothing of short packets": ([replace(LAN, takes_short=False)] * 60, Coding(20, 72_000, 0, 6)),
    "a clean way across the country": ([replace(LAN, round_trip_s=0.03)] * 60, Coding(20, 72_000, 0, 6)),
    "no round trip known": ([replace(LAN, round_trip_s=None)] * 60, Coding(20, 72_000, 0, 6)),
    "bunches of Wi-Fi": ([replace(LAN, jitter_s=0.012)] * 60, Coding(20, 72_000, 0, 6)),
    "a small processor": ([replace(LAN, cpu_ratio=0.30)] * 60, Coding(20, 72_000, 0, 6)),
    "loss on a LAN": ([LAN] * 30 + [replace(LAN, loss=0.03)], Coding(20, 48_000, 3, 6)),
    "a little loss": ([LAN] * 30 + [replace(LAN, loss=0.01)] * 9, Coding(10, 72_000, 0, 6)),
    "a little longer a way": (
        [LAN] * 30 + [replace(LAN, round_trip_s=0.03)] * 9,
        Coding(10, 72_000, 0, 6),
    ),
    "a way that becomes long": ([LAN] * 30 + [replace(LAN, round_trip_s=0.08)], Coding(20, 72_000, 0, 6)),
    "short packets cost what they cost": ([LAN] * 30 + [replace(LAN, cpu_ratio=0.37)] * 9, Coding(10, 72_000, 0, 6)),
    "a processor that becomes busy": ([LAN] * 30 + [replace(LAN, cpu_ratio=0.5)], Coding(20, 72_000, 0, 6)),
    "a queue, once": ([LAN, QUEUE], Coding(20, 48_000, 3, 6)),
    "a queue": ([LAN] + [QUEUE] * 2, Coding(20, 32_000, 10, 6)),
    "a queue that stays": ([LAN] + [QUEUE] * 4, Coding(20, 24_000, 10, 6)),
    "a queue after a clean path": ([LAN] * 20 + [QUEUE] * 4, Coding(20, 24_000, 0, 6)),
    "a queue that went": ([LAN] + [QUEUE] * 2 + [LAN] * 15, Coding(10, 72_000, 0, 6)),
    "a queue and loss": ([LAN] + [replace(QUEUE, loss=0.1)] * 2, Coding(20, 32_000, 10, 6)),
    "loss without a queue": ([LAN] + [replace(LAN, loss=0.1)] * 9, Coding(20, 48_000, 3, 6)),
    "busy for a moment": ([BUSY] * 2, Coding(20, 48_000, 3, 6)),
    "busy": ([BUSY] * 3, Coding(20, 48_000, 3, 5)),
    "busy for long": ([BUSY] * 60, Coding(20, 72_000, 0, 0)),
    "idle again": ([BUSY] * 3 + [replace(LAN, cpu_ratio=0.3)] * 30, Coding(20, 72_000, 0, 6)),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation(name: str) -> None:
    reports, asked = SITUATIONS[name]
    assert coding(told(*reports), AUTO) == asked


def test_a_longer_way_is_no_queue() -> None:
    """It does not shrink although less is sent: after a while it counts as the way, and all of the rate comes back."""
    sending = told(LAN, *[replace(LAN, round_trip_s=0.4)] * 60)
    assert coding(sending, AUTO).bitrate_bps == 72_000


def test_who_configured_little_is_squeezed_no_further_than_a_voice_bears() -> None:
    squeezed = told(LAN, *[QUEUE] * 4)
    assert coding(squeezed, Wanted(bitrate_bps=20_000)).bitrate_bps == 16_000
    assert coding(squeezed, Wanted(bitrate_bps=8_000)).bitrate_bps == 8_000


# ------------------------------------------------------------------------------------------------------ short packets


def test_each_return_to_long_packets_doubles_the_time_until_short_ones_are_tried_again() -> None:
    sending, waited = Sending(), []
    for _ in range(6):
        reports = 0
        while not sending.short:
            sending, reports = reported(sending, LAN), reports + 1
        waited.append(reports)
        sending = reported(sending, replace(LAN, loss=0.05))
    assert waited == [15, 30, 60, 120, 120, 120]


@pytest.mark.parametrize("frame_ms", [10, 20])
def test_a_configured_length_stays_whatever_is_reported(frame_ms: int) -> None:
    wanted = Wanted(frame_ms=10 if frame_ms == 10 else 20)
    for sending in (Sending(), told(*[LAN] * 60), told(*[LAN] * 60, replace(LAN, loss=0.2))):
        assert coding(sending, wanted).frame_ms == frame_ms
        assert coding(sending, wanted).bitrate_bps == (48_000 if sending.copies else 72_000)


def test_more_bits_on_a_clean_path_never_leave_the_mode_for_voice() -> None:
    """And without a report nobody knows that it is clean."""
    assert coding(Sending(), AUTO).bitrate_bps == 48_000
    sending = told(*[LAN] * 15)
    rates = [coding(sending, Wanted(rate, "auto")).bitrate_bps for rate in (6_000, 36_000, 64_000)]
    assert rates == [9_000, 54_000, 72_000]


maybe = st.one_of(st.none(), st.floats(0, 10))
reports = st.builds(Report, st.floats(0, 1), maybe, maybe, maybe, st.booleans())


@given(st.lists(st.one_of(reports, st.just(LAN)), max_size=200))
def test_whatever_is_reported_the_encoder_is_asked_for_what_it_can_do(path: list[Report]) -> None:
    """And short packets never carry copies: they would be of packets of another length, or reach back 10 ms."""
    asked = coding(told(*path), AUTO)
    assert asked.frame_ms == 20 or asked.expected_loss_percent == 0
    assert 16_000 <= asked.bitrate_bps <= 72_000
    assert asked.complexity in (0, 2, 4, 5, 6)
