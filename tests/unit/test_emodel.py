"""The E-model against points of ITU-T G.107, and its order: more delay, more loss, longer gaps are never better."""

import itertools

import pytest

from intercomd.media.emodel import burst_ratio, delay_impairment, loss_impairment, mos, opinion

PACKET_FRAMES = 960


@pytest.mark.parametrize(
    ("rating", "score"), [(93.2, 4.41), (90, 4.34), (80, 4.02), (70, 3.60), (60, 3.10), (50, 2.58)]
)  # fmt: skip
def test_the_table_of_annex_b(rating: float, score: float) -> None:
    assert opinion(rating) == pytest.approx(score, abs=0.006)


def test_the_score_ends_at_both_ends() -> None:
    assert opinion(-40.0) == opinion(0.0) == opinion(3.0) == 1.0
    assert opinion(100.0) == opinion(120.0) == 4.5


def test_delay_costs_nothing_below_100_ms() -> None:
    assert delay_impairment(0.0) == delay_impairment(0.1) == 0.0
    assert delay_impairment(0.101) < 0.001


@pytest.mark.parametrize(("delay_s", "impairment"), [(0.2, 3.04), (0.4, 24.07)])
def test_delay_by_hand(delay_s: float, impairment: float) -> None:
    """X is 1 and 2: 25 (2^(1/6) − 3 (1 + 3^−6)^(1/6) + 2), and 25 (65^(1/6) − 3 (1 + (2/3)^6)^(1/6) + 2)."""
    assert delay_impairment(delay_s) == pytest.approx(impairment, abs=0.005)


def test_loss_by_hand() -> None:
    assert loss_impairment(0.0) == 0.0
    assert loss_impairment(0.05) == pytest.approx(95 * 5 / (5 + 15))
    assert loss_impairment(0.05, 2.0) == pytest.approx(95 * 5 / (2.5 + 15))


def test_no_more_delay_loss_or_burst_is_ever_better() -> None:
    delays_s = [0.01 * step for step in range(120)]
    losses = [0.005 * step for step in range(201)]
    for loss, burst in itertools.product(losses[::20], (1.0, 1.5, 2.0)):
        falls([mos(delay_s, loss, burst) for delay_s in delays_s])
    for delay_s, burst in itertools.product(delays_s[::20], (1.0, 1.5, 2.0)):
        falls([mos(delay_s, loss, burst) for loss in losses])
    for delay_s, loss in itertools.product(delays_s[::20], losses[::20]):
        falls([mos(delay_s, loss, burst) for burst in (1.0, 1.3, 2.0)])


def falls(scores: list[float]) -> None:
    assert all(1.0 <= later <= earlier <= 4.5 for earlier, later in itertools.pairwise(scores))


def test_single_losses_are_no_burst() -> None:
    assert burst_ratio(0, 0, 0.0) == 1.0
    assert burst_ratio(5 * PACKET_FRAMES, 5, 0.05) == 1.0
    assert burst_ratio(480, 1, 0.001) == 1.0, "a stand-in for a late packet is less than a packet"


def test_gaps_of_several_packets_are_bursts() -> None:
    assert burst_ratio(15 * PACKET_FRAMES, 10, 0.1) == pytest.approx(1.5 * 0.9)
    assert burst_ratio(90 * PACKET_FRAMES, 10, 0.1) == 2.0, "beyond that the model knows nothing"
