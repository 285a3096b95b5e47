"""aiortc's figures in their odd units, turned into the protocol's seconds and ratios."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from intercomd.core.vocabulary import Metrics, decode, encode
from intercomd.media.emodel import mos
from intercomd.media.jitter import Counts
from intercomd.media.quality import (
    BufferDelay,
    Here,
    NetworkStats,
    Timing,
    added,
    completed,
    concealed_ratio,
    metrics,
    network_stats,
    smoothed_loss,
)

INBOUND = SimpleNamespace(type="inbound-rtp", packetsReceived=500, packetsLost=7, jitter=518)
PEER = SimpleNamespace(type="remote-inbound-rtp", roundTripTime=0.0123, fractionLost=64, jitter=1, packetsLost=0)


def test_units() -> None:
    stats = network_stats([INBOUND, PEER, SimpleNamespace(type="transport", packetsReceived=9)])
    assert (stats.packets_received, stats.packets_lost) == (500, 7)
    assert stats.jitter_s == pytest.approx(0.0108, abs=1e-4)
    assert stats.round_trip_s == 0.0123
    assert stats.peer_loss == 0.25


def test_what_is_missing_stays_unknown() -> None:
    assert network_stats([]) == NetworkStats()
    assert network_stats([SimpleNamespace(type="remote-inbound-rtp", roundTripTime=None)]) == NetworkStats()


@pytest.mark.parametrize("round_trip", [-3.0, 31_536_000.0])
def test_a_clock_that_was_set_leaves_absurd_figures_out(round_trip: float) -> None:
    inbound = SimpleNamespace(type="inbound-rtp", packetsReceived=1, packetsLost=-2, jitter=2**45)
    peer = SimpleNamespace(type="remote-inbound-rtp", roundTripTime=round_trip, fractionLost=0)
    stats = network_stats([inbound, peer])
    assert stats.jitter_s is stats.round_trip_s is None
    assert stats.packets_lost == -2


def test_concealed_counts_what_is_not_real_voice() -> None:
    counts = Counts(
        played_frames=9_600, recovered_frames=960, concealed_frames=480, silent_frames=960, paused_frames=99
    )
    assert concealed_ratio(counts) == pytest.approx(1440 / 12_000)
    assert concealed_ratio(Counts(paused_frames=4800)) is None


def test_all_of_it() -> None:
    network = NetworkStats(500, 7, 0.0108, 0.0123, 0.25)
    counts = Counts(
        played_frames=800, recovered_frames=100, concealed_frames=80, silent_frames=20, gaps=3, late=4, left_out=1,
        overflowed=2, shortened_frames=30, lengthened_frames=40,
    )  # fmt: skip
    figures = metrics(network, counts, BufferDelay(0.04, 0.03), Timing(100.0, 100.25), 130.25)
    assert figures == Metrics(
        connection_time=0.25, audio_packets_lost=7, audio_packets_received=500, jitter=0.0108, round_trip_time=0.0123,
        call_duration=30.0, concealed_ratio=0.1, buffer_delay=0.04, buffer_target=0.03, played_frames=900,
        recovered_frames=100, concealed_frames=100, concealments=3, stretched_frames=70, late_packets=4,
        left_out_packets=3,
    )  # fmt: skip
    assert decode(Metrics, encode(figures)) == figures


CONNECTED = Metrics(
    connection_time=0.25, audio_packets_lost=2, audio_packets_received=100, jitter=0.01, round_trip_time=0.02,
    call_duration=30.0, concealed_ratio=0.1, buffer_delay=0.04, buffer_target=0.03, played_frames=9000,
    recovered_frames=5, concealed_frames=1000, concealments=1, stretched_frames=7, late_packets=4, left_out_packets=3,
)  # fmt: skip


def test_the_delay_from_mouth_to_ear_is_the_sum_of_its_parts() -> None:
    """20 ms of framing, 6.5 of look-ahead, half of 20, 40 in the buffer, 15 queued before the period."""
    figures = completed(CONNECTED, Here(queued_s=0.025, packet_s=0.02))
    assert figures.mouth_to_ear == pytest.approx(0.02 + 0.0065 + 0.01 + 0.04 + 0.015)
    assert figures.mos == pytest.approx(mos(figures.mouth_to_ear, 0.1), abs=0.005)
    assert completed(CONNECTED, Here(packet_s=0.01)).mouth_to_ear == pytest.approx(0.0665), "nothing is queued"


def test_longer_gaps_of_the_same_loss_are_worse() -> None:
    scattered = replace(CONNECTED, concealed_frames=9600, concealments=10)
    in_one = replace(scattered, concealments=2)
    here = Here()
    assert (completed(in_one, here).mos or 0) < (completed(scattered, here).mos or 0)


@pytest.mark.parametrize("unknown", ["round_trip_time", "buffer_delay"])
def test_no_score_is_made_up(unknown: str) -> None:
    figures = completed(replace(CONNECTED, **{unknown: None}), Here())
    assert figures.mouth_to_ear is figures.mos is None


def test_a_call_that_heard_nothing_yet_has_no_score() -> None:
    assert completed(replace(CONNECTED, concealed_ratio=None), Here()).mos is None


def test_the_stations_own_figures_go_along() -> None:
    here = Here(erle_db=31.26, xruns=2, drift_ppm=-12.34, cpu_ratio=0.12345)
    figures = completed(CONNECTED, here)
    assert (figures.erle_db, figures.xruns, figures.drift_ppm, figures.cpu_ratio) == (31.3, 2, -12.3, 0.1235)
    assert decode(Metrics, encode(figures)) == figures


def test_a_call_is_the_sum_of_its_connections() -> None:
    now = replace(CONNECTED, connection_time=0.9, jitter=0.5, concealed_ratio=0.0, concealed_frames=0, concealments=0)
    total = added(CONNECTED, now)
    assert (total.audio_packets_lost, total.audio_packets_received, total.call_duration) == (4, 200, 60.0)
    assert (total.connection_time, total.jitter, total.buffer_delay) == (0.25, 0.5, 0.04)
    assert (total.played_frames, total.concealed_frames, total.concealed_ratio) == (18_000, 1000, 0.05263)


def test_while_the_next_connection_comes_up_the_last_ones_counts_stand() -> None:
    total = added(CONNECTED, Metrics())
    assert (total.audio_packets_received, total.call_duration, total.concealed_ratio) == (100, 30.0, 0.1)
    assert total.buffer_delay is total.jitter is None


def test_before_it_is_up_there_is_neither_time_nor_delay() -> None:
    assert metrics(NetworkStats(), Counts(played_frames=9), BufferDelay(0.0), Timing(1.0), 2.0) == Metrics()


def test_loss_rises_at_once_and_falls_slowly() -> None:
    assert smoothed_loss(0.1, None) == 0.1
    assert smoothed_loss(0.1, 0.4) == 0.4
    assert smoothed_loss(0.4, 0.0) == pytest.approx(0.35)
