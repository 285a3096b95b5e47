"""The ring between two threads: fills, gives, drops the oldest, begins anew."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from intercomd.media.pcm import PERIOD_FRAMES, Pcm
from intercomd.media.periods import PeriodRing, split


def period(number: int) -> Pcm:
    return np.full(PERIOD_FRAMES, number, np.int16)


def pulled(ring: PeriodRing, times: int) -> list[int | None]:
    found = [ring.pull() for _ in range(times)]
    return [None if one is None else int(one[0]) for one in found]


def test_gives_from_its_target_on_and_fills_again_when_dry() -> None:
    ring = PeriodRing(target_ms=20)
    ring.put(period(1))
    assert pulled(ring, 1) == [None]
    ring.put(period(2))
    assert pulled(ring, 3) == [1, 2, None]
    ring.put(period(3))
    assert pulled(ring, 1) == [None]


def test_drops_the_oldest_beyond_its_ceiling() -> None:
    ring = PeriodRing()
    for number in range(20):
        ring.put(period(number))
    assert (len(ring), ring.overflowed) == (12, 8)
    assert pulled(ring, 13) == [*range(8, 20), None]


def test_clear() -> None:
    ring = PeriodRing(target_ms=10)
    ring.put(period(1))
    ring.clear()
    assert pulled(ring, 1) == [None]


@given(st.lists(st.integers(0, 2000), max_size=20))
def test_splitting_loses_nothing(lengths: list[int]) -> None:
    whole = np.arange(sum(lengths), dtype=np.int64).astype(np.int16)
    left_over: Pcm = whole[:0]
    periods: list[Pcm] = []
    at = 0
    for length in lengths:
        more, left_over = split(whole[at : at + length], left_over)
        periods += more
        at += length
    assert all(one.shape == (PERIOD_FRAMES,) for one in periods)
    assert np.array_equal(np.concatenate([*periods, left_over]), whole)
