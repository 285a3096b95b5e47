"""The hub on a machine whose clock is set by a year, either way: in a call, between calls, between two of its lives."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from intercomd.core.protocol import EndCall, InitiateCall
from intercomd.core.vocabulary import HubPhase
from intercomd.hub.clock import HubClock
from intercomd.hub.history import records
from tests.e2e.test_registry import DOOR, FLAT, Desk, soon, talking

YEAR_S = 365 * 86_400.0
BOTH_WAYS = pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S])


class Machine:
    """Its wall clock is set by hand; time goes on as it does."""

    def __init__(self) -> None:
        self.off_s = 10 * YEAR_S

    def clock(self) -> HubClock:
        return HubClock(lambda: time.time() + self.off_s)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
async def desk(tmp_path: Path, machine: Machine) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path, clock=machine.clock())
    await desk.open()
    await desk.join(DOOR, FLAT)
    yield desk
    await desk.close()


async def state_of(desk: Desk) -> tuple[HubPhase, float | None]:
    (state,) = await soon(desk.registry.resync(DOOR, []))
    return state.phase, state.lease


@BOTH_WAYS
async def test_in_a_call_nothing_moves_and_after_it_the_clock_is_followed(
    desk: Desk, machine: Machine, jump_s: float
) -> None:
    await talking(desk)
    before = await state_of(desk)
    machine.off_s += jump_s
    desk.registry.rest()
    assert await state_of(desk) == before
    desk.leave(FLAT)
    await desk.join(FLAT)
    assert (await state_of(desk))[0] is before[0], "whoever comes back finds the call, the grace is not over"
    await soon(desk.registry.request(DOOR.endpoint, EndCall("c")))
    (call,) = (await records.load(desk.database, ["c"])).values()  # type: ignore[list-item]
    assert 0 <= call.duration_s < 60
    now_s = time.time() + machine.off_s
    reply = await soon(desk.registry.initiate(DOOR, InitiateCall("next", "flat")))
    assert reply.call is not None
    assert abs(reply.call.created_at - now_s) < 60


@BOTH_WAYS
async def test_between_two_lives_no_talk_ends_and_no_lease_is_longer(
    desk: Desk, machine: Machine, jump_s: float, tmp_path: Path
) -> None:
    await talking(desk)
    await desk.close()
    machine.off_s += jump_s
    again = Desk(tmp_path, clock=machine.clock())
    await again.open()
    try:
        await again.join(DOOR, FLAT)
        phase, lease = await state_of(again)
        assert phase is not HubPhase.ENDED
        assert lease is not None
        assert 0 < lease - again.clock.now_s() <= 4 * 3600.0
    finally:
        await again.close()
