"""The parts of `make bench-audio` put together: what breaks or is late hides nothing else; and a fast look at the
parts themselves."""

import asyncio

import pytest

from tests.bench.audio.bench import Real, limited, together, watched
from tests.bench.audio.delays import Trip, grown_ms, stopped
from tests.bench.audio.hour import Clocks, passed
from tests.bench.audio.measured import Measured
from tests.bench.audio.strangers import overwhelmed
from tests.bench.load import LoadWatch
from tests.bench.report import Peer, is_valid, row

NOBODY = Peer(None, reason="nobody else can")
GOOD = Measured([row("delay", 1.0, "ms", NOBODY, at_most=2.0)], {"delay_ms": [1.0]})


async def good() -> Measured:
    return GOOD


async def broken() -> Measured:
    raise LookupError("the card fell off")


async def late() -> Measured:
    await asyncio.sleep(60)
    return GOOD


async def test_a_part_that_breaks_hides_no_other() -> None:
    found = await together({"first": broken, "second": good}, 5)
    assert found["second"] is GOOD
    (told,) = found["first"].rows
    assert (told.name, told.ok, told.ours) == ("first", False, None)
    assert told.reason == "INVALID: not measured: LookupError: the card fell off"
    assert not is_valid([*found["first"].rows, *found["second"].rows])


async def test_a_late_part_is_invalid() -> None:
    (told,) = (await limited("slow", late, 0.05)).rows
    assert told.reason == "INVALID: not measured: not over within 0 s"


async def test_a_busy_machine_makes_real_time_invalid_but_keeps_its_curves() -> None:
    measured = await watched("busy", Real(good, 5, max_lag_s=0.01), LoadWatch(before=1000.0))
    assert not is_valid(measured.rows)
    assert measured.series == GOOD.series


@pytest.mark.platform("libopus")
def test_a_sender_that_stalled_leaves_no_delay_and_stock_does() -> None:
    ours, stock = (stopped(Trip("sending", name, 1)).heard for name in ("ours", "stock"))
    assert grown_ms(ours, 3, 4.9, 7.5, 9.5) < 5
    assert grown_ms(stock, 3, 4.9, 7.5, 9.5) > 400


@pytest.mark.platform("libopus")
def test_a_clock_that_differs_is_followed_and_by_stock_it_is_not() -> None:
    ours, stock = (passed(Clocks(name, 200.0, 3, judged=False)) for name in ("ours", "stock"))
    assert ours.off_ms < 20
    assert ours.slips == 0
    assert stock.off_ms > 25


@pytest.mark.platform("libopus")
def test_strangers_end_nothing() -> None:
    flood = overwhelmed((5_000, 1))
    assert flood.waiting < 96
    assert flood.undecodable > 10, "a flood that is taken for speech tries nothing"
    assert flood.likeness > 0.6
