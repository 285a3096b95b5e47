"""The hub's small parts: rates, presence, the ledger, the clock."""

import pytest

from intercomd import RELEASED_S
from intercomd.core.legs import HubCall, Party
from intercomd.core.vocabulary import HubPhase
from intercomd.hub.calling.ledger import RECENT_CALLS, Ledger
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.clock import DRIFT_S, HubClock
from intercomd.hub.limits import MAX_KEYS, Buckets, Rate
from intercomd.ids import CallId
from tests.unit.hub_calls import CALL, DESK, DOOR, FLAT, FLAT_2, connected, ended, ringing

# ---------------------------------------------------------------------------------------------------------- rates


def test_a_burst_then_so_many_a_second() -> None:
    buckets = Buckets(Rate(per_s=2.0, burst=3.0))
    assert [buckets.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 0.4)
    assert buckets.take("a", 0.5)
    assert not buckets.take("a", 0.6)
    assert [buckets.take("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_asking_in_vain_does_not_prolong_the_wait() -> None:
    buckets = Buckets(Rate(per_s=1.0, burst=1.0))
    buckets.take("a", 0.0)
    for tenth in range(1, 10):
        assert not buckets.take("a", tenth / 10)
    assert buckets.take("a", 1.0)


def test_the_memory_of_rates_is_bounded() -> None:
    buckets = Buckets(Rate(per_s=0.001, burst=1.0))
    buckets.take("first", 0.0)
    for number in range(MAX_KEYS):
        buckets.take(str(number), 0.0)
    assert not buckets.is_empty("first", 0.0)
    assert buckets.is_empty("0", 0.0)


# ------------------------------------------------------------------------------------------------------- presence


def socket(sid: str, party: Party = FLAT, *, resynced: bool = False) -> Socket:
    return Socket(sid, party, False, b"", 0.0, 0.0, resynced)


def test_presence_is_a_set_of_sockets_for_each_device() -> None:
    presence = Presence()
    for sid, party in (("old", FLAT), ("new", FLAT), ("tablet", FLAT_2)):
        presence.add(socket(sid, party))
    assert presence.online((FLAT.identity, DESK.identity)) == {FLAT.identity: (FLAT, FLAT_2), DESK.identity: ()}
    presence.remove("old")
    assert [item.sid for item in presence.at(FLAT.endpoint)] == ["new"]
    presence.remove("new")
    assert presence.at(FLAT.endpoint) == ()
    assert presence.online((FLAT.identity,)) == {FLAT.identity: (FLAT_2,)}
    assert presence.remove("new") is None
    presence.remove("tablet")
    assert (len(presence), presence.online((FLAT.identity,))) == (0, {FLAT.identity: ()})


def test_a_device_has_resynced_when_one_of_its_sockets_has() -> None:
    presence = Presence()
    presence.add(socket("old"))
    assert not presence.has_resynced(FLAT.endpoint)
    presence.add(socket("new", resynced=True))
    assert presence.has_resynced(FLAT.endpoint)


# --------------------------------------------------------------------------------------------------------- ledger


def ledger_with(*calls: HubCall) -> Ledger:
    ledger = Ledger()
    for call in calls:
        ledger.replace(None, call)
    return ledger


def test_a_call_is_found_by_id_by_leg_and_by_whom_it_rings() -> None:
    call = ringing()
    ledger = ledger_with(call)
    assert ledger.get(CALL) is call
    assert {endpoint: found.call_id for endpoint, found in ledger.legs.items()} == {
        DOOR.endpoint: CALL,
        FLAT.endpoint: CALL,
    }
    assert ledger.concerned(FLAT_2.endpoint) == (call,)
    assert ledger.concerned(DESK.endpoint) == ()


def test_an_answered_call_concerns_only_its_two_devices() -> None:
    before, after = ringing(), connected()
    ledger = ledger_with(before)
    ledger.replace(before, after)
    assert ledger.concerned(FLAT.endpoint) == (after,)
    assert ledger.concerned(FLAT_2.endpoint) == ()


def test_an_ended_call_frees_its_devices_and_is_remembered_for_a_while() -> None:
    before, after = connected(), ended()
    ledger = ledger_with(before)
    ledger.replace(before, after)
    assert (ledger.legs, len(ledger), ledger.get(CALL)) == ({}, 0, after)
    for number in range(RECENT_CALLS):
        other = HubCall(CallId(str(number)), after.caller, FLAT.identity, 0.0, phase=HubPhase.ENDED)
        ledger.remember(other)
    assert ledger.get(CALL) is None


def test_what_was_decided_can_be_undone() -> None:
    first, second, third = ringing(), connected(), ended()
    ledger = ledger_with(first)
    ledger.replace(first, second)
    ledger.replace(second, third)
    ledger.replace(third, second)
    assert ledger.get(CALL) is second
    assert ledger.legs[DOOR.endpoint] is second
    ledger.replace(second, first)
    ledger.replace(first, None)
    assert (ledger.get(CALL), ledger.legs, len(ledger)) == (None, {}, 0)


# ---------------------------------------------------------------------------------------------------------- clock


YEAR_S = 365 * 86_400.0
NOW_S = RELEASED_S + 2 * YEAR_S


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S])
def test_the_clock_does_not_jump_until_it_may(jump_s: float) -> None:
    wall, monotonic = [NOW_S], [50.0]
    clock = HubClock(lambda: wall[0], lambda: monotonic[0])
    assert clock.now_s() == NOW_S
    wall[0] += jump_s
    monotonic[0] += 2.0
    assert clock.now_s() == NOW_S + 2.0
    clock.adjust()
    assert clock.now_s() == NOW_S + jump_s


def test_small_drift_is_left_alone() -> None:
    wall = [NOW_S]
    clock = HubClock(lambda: wall[0], lambda: 0.0)
    wall[0] += DRIFT_S * 0.9
    clock.adjust()
    assert clock.now_s() == NOW_S


def test_a_wall_clock_that_was_never_set_goes_on_from_what_is_written_down() -> None:
    wall, monotonic = [0.0], [50.0]
    clock = HubClock(lambda: wall[0], lambda: monotonic[0])
    clock.not_before(NOW_S)
    monotonic[0] += 60.0
    clock.adjust()
    assert clock.now_s() == NOW_S + 60.0
    wall[0] = NOW_S + YEAR_S
    clock.adjust()
    assert clock.now_s() == NOW_S + YEAR_S


def test_a_clock_that_was_once_ahead_does_not_stay_so() -> None:
    clock = HubClock(lambda: NOW_S, lambda: 0.0)
    clock.not_before(NOW_S + YEAR_S)
    assert clock.now_s() == NOW_S
