"""Who may ring whom, from what is open and who is online."""

from intercomd.core.admission import admit, concerned, open_legs
from intercomd.core.protocol import AcceptCall
from tests.unit.hub_calls import CALL, DESK, DOOR, FLAT, FLAT_2, connected, ended, party, request, ringing


def test_busy_is_by_device() -> None:
    """A call leaves the identity's other device free; a device that is away in a call is busy, not offline."""
    legs = open_legs([connected()])
    both = {FLAT.identity: [FLAT, FLAT_2]}
    assert admit(legs, both, DESK.endpoint, [FLAT.identity]).free == (FLAT_2,)
    one = admit(legs, {FLAT.identity: [FLAT]}, DESK.endpoint, [FLAT.identity])
    assert (one.free, one.busy) == ((), True)
    rebooting = admit(legs, {}, DESK.endpoint, [FLAT.identity])
    assert (rebooting.free, rebooting.busy) == ((), True)
    gone = admit({}, {}, DESK.endpoint, [FLAT.identity])
    assert (gone.free, gone.busy) == ((), False)


def test_nobody_rings_themselves() -> None:
    facts = admit({}, {DOOR.identity: [DOOR, party("door", "2")]}, DOOR.endpoint, [DOOR.identity])
    assert not facts.allowed
    grouped = admit({}, {DOOR.identity: [DOOR], FLAT.identity: [FLAT]}, DOOR.endpoint, [FLAT.identity, DOOR.identity])
    assert grouped.free == (FLAT,)


def test_a_ringing_or_ended_call_makes_busy_as_its_legs_say() -> None:
    assert set(open_legs([ringing(FLAT, DESK)])) == {DOOR.endpoint, FLAT.endpoint, DESK.endpoint}
    assert open_legs([ended()]) == {}
    accepted, _, _ = request(ringing(FLAT, DESK), FLAT, AcceptCall(CALL))
    assert set(open_legs([accepted])) == {DOOR.endpoint, FLAT.endpoint}


def test_a_device_that_comes_online_concerns_its_own_call_and_what_rings_for_it() -> None:
    call = ringing()
    assert concerned([call], FLAT_2.endpoint) == (call,)
    assert concerned([call], DOOR.endpoint) == (call,)
    assert concerned([call], DESK.endpoint) == ()
    assert concerned([connected()], FLAT_2.endpoint) == ()
