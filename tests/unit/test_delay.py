"""Which delay pays for itself."""

import numpy as np

from intercomd.media.delay import Transits

MS = 48
MOST = 120 * MS


def seen(delays_ms: list[float], *, transits: Transits | None = None, first: int = 0) -> Transits:
    """Packets of 20 ms with these delays; they arrive in the order of their arrival."""
    transits = transits or Transits(MOST)
    packets = [(first + index, round((first + index) * 960 + delay * MS)) for index, delay in enumerate(delays_ms)]
    for index, arrived in sorted(packets, key=lambda packet: packet[1]):
        transits.see(index * 960, arrived + 1_000_000)
    return transits


def delay_ms(transits: Transits) -> float:
    assert transits.target is not None
    return (transits.target - transits.base) / MS


def jitter(count: int, most_ms: float, seed: int = 1) -> list[float]:
    return list(np.random.default_rng(seed).uniform(0, most_ms, count))


def test_nothing_is_known_before_the_first_packet() -> None:
    assert Transits(MOST).target is None


def test_steady_jitter_is_covered() -> None:
    assert 28 < delay_ms(seen(jitter(500, 30))) < 31


def test_the_clocks_offset_does_not_matter() -> None:
    transits = Transits(MOST)
    for index in range(100):
        transits.see(index * 960 - 10**9, index * 960 + 10**12)
    assert delay_ms(transits) == 0


def test_one_spike_in_ten_seconds_is_not_worth_its_delay() -> None:
    delays = [0.0] * 500
    delays[300:305] = [90, 70, 50, 30, 10]
    assert delay_ms(seen(delays)) < 35


def test_spikes_each_second_are() -> None:
    delays = [max(0.0, 80 - 20 * (index % 50)) for index in range(500)]
    assert delay_ms(seen(delays)) == 80


def test_what_was_learnt_is_forgotten_after_ten_seconds() -> None:
    transits = seen(jitter(500, 60))
    assert delay_ms(seen([0.0] * 200, transits=transits, first=500)) > 50
    assert delay_ms(seen([0.0] * 320, transits=transits, first=700)) < 1


def test_never_more_than_the_most() -> None:
    assert delay_ms(seen(jitter(500, 400))) <= 120


def test_an_outage_is_no_jitter() -> None:
    outage = [0.0] * 30 + [500.0 - 20 * index for index in range(25)] + [0.0] * 25
    assert delay_ms(seen(outage * 6)) < 1


def test_a_longer_route_is_the_new_base_within_a_second() -> None:
    transits = seen([0.0] * 500)
    assert delay_ms(seen([100.0] * 60, transits=transits, first=500)) < 1


def test_a_shorter_route_is_believed_after_a_second() -> None:
    transits = seen([100.0 + extra for extra in jitter(500, 30)])
    assert delay_ms(seen(jitter(20, 5), transits=transits, first=500)) > 90
    assert delay_ms(seen(jitter(55, 5), transits=transits, first=520)) < 6


def test_a_second_without_a_spike_is_no_shorter_route() -> None:
    delays = [max(0.0, 80 - 20 * (index % 75)) for index in range(525)]
    assert delay_ms(seen(delays + [0.0] * 60)) > 55


def test_a_lost_packet_that_could_be_rebuilt_is_worth_waiting_for() -> None:
    transits = seen([0.0] * 500)
    for index in range(500, 1000):
        if index % 50:
            transits.see(index * 960, index * 960 + 1_000_000)
        if index % 50 == 1:
            transits.could_rebuild(index * 960, 960, index * 960 + 1_000_000)
    assert delay_ms(transits) == 20


def test_costs_are_least_at_the_target() -> None:
    transits = seen(jitter(500, 40))
    assert transits.target is not None
    around = transits.target + np.arange(-10, 11) * 2 * MS
    costs = transits.costs(around)
    assert abs(int(np.argmin(costs)) - 10) <= 1
    assert costs[0] > costs[10] < costs[-1]
