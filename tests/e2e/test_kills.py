"""A short pass of the random kills (`make bench-recovery` has the long one), and a planted mistake that must show."""

import pytest

from tests.bench.recovery.kills import is_caught, planted, run
from tests.bench.recovery.kills_words import table

KILLS = 8
SEED = 5

pytestmark = [pytest.mark.timeout(150), pytest.mark.platform("pulseaudio")]


async def test_after_random_kills_nobody_rings_on_and_the_books_are_right() -> None:
    tally = await run(SEED, KILLS, houses=1)
    assert not tally.findings, tally.findings
    assert tally.kills >= KILLS
    assert len({phase for phase, _ in tally.phases}) >= 3, table(tally.phases)
    assert tally.records >= 3


async def test_a_planted_mistake_is_found() -> None:
    """A station that sends its records and keeps none."""
    tally = await planted("forgets records", SEED)
    assert is_caught("forgets records", tally), tally.findings
