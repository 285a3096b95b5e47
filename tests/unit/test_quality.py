"""aiortc's figures in their odd units, turned into the protocol's seconds and ratios."""

from types import SimpleNamespace

import pytest

from intercomd.core.protocol import Metrics, decode, encode
from intercomd.media.jitter import Counts
from intercomd.media.quality import NetworkStats, Timing, concealed_ratio, metrics, network_stats, smoothed_loss

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
    counts = Counts(played_frames=900, concealed_frames=100)
    figures = metrics(network, counts, 0.04, Timing(100.0, 100.25), 130.25)
    assert figures == Metrics(
        connection_time=0.25, audio_packets_lost=7, audio_packets_received=500, jitter=0.0108, round_trip_time=0.0123,
        call_duration=30.0, concealed_ratio=0.1, buffer_delay=0.04,
    )  # fmt: skip
    assert decode(Metrics, encode(figures)) == figures


def test_before_it_is_up_there_is_neither_time_nor_delay() -> None:
    assert metrics(NetworkStats(), Counts(), 0.0, Timing(1.0), 2.0) == Metrics()


def test_loss_rises_at_once_and_falls_slowly() -> None:
    assert smoothed_loss(0.1, None) == 0.1
    assert smoothed_loss(0.1, 0.4) == 0.4
    assert smoothed_loss(0.4, 0.0) == pytest.approx(0.35)
