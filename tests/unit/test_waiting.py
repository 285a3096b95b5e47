"""The order of the queues: who is rung when somebody gets free, and which places the others have."""

from intercomd.core.admission import Admission, Silence, nobody, open_legs
from intercomd.core.legs import HubCall, Limits, Party, Round
from intercomd.core.switch import handle
from intercomd.core.switchboard import Initiated, Vanished
from intercomd.core.vocabulary import HubPhase
from intercomd.core.waiting import is_waiting, place, queue, review
from intercomd.ids import CallId, IdentityId
from tests.unit.hub_calls import DESK, DOOR, FLAT, party

ATTIC, GATE = party("attic"), party("gate")
LIMITS = Limits()


def waiting(caller: Party, at_s: float, recipient: str = "flat", position: int = 1, *members: str) -> HubCall:
    names = tuple(IdentityId(name) for name in members or (recipient,))
    facts = Admission(names, busy=True, rounds=(Round(names, 30.0),), position=position)
    call_id = CallId(f"of-{caller.identity}")
    call, _ = handle(None, Initiated(at_s, call_id, caller, IdentityId(recipient), facts, LIMITS))
    assert call is not None
    assert is_waiting(call)
    return call


def settled(calls: list[HubCall], online: tuple[Party, ...], silence: Silence = nobody) -> list[HubCall]:
    """What the hub does with the queues: again and again until nothing is new."""
    for _ in range(10):
        there = {who.identity: (who,) for who in online}
        found = review(queue(calls), open_legs(calls), there, 50.0, silence)
        if found is None:
            return calls
        after, _ = handle(*found)
        assert after is not None
        calls = [after if call.call_id == after.call_id else call for call in calls]
    raise AssertionError("it never comes to rest")


def places(calls: list[HubCall]) -> dict[str, int | str | None]:
    return {call.caller.party.identity: call.position if is_waiting(call) else call.phase.value for call in calls}


def test_who_came_first_is_rung_and_the_others_move_up() -> None:
    calls = [waiting(DESK, 2.0, position=2), waiting(DOOR, 1.0), waiting(ATTIC, 3.0, position=3)]
    assert [call.caller.party for call in queue(calls)] == [DOOR, DESK, ATTIC]
    after = settled(calls, (FLAT,))
    assert places(after) == {"door": "ringing", "desk": 1, "attic": 2}
    assert [leg.party for call in after for leg in call.ringing] == [FLAT]


def test_nobody_moves_while_the_called_side_is_away_or_talks() -> None:
    calls = [waiting(DOOR, 1.0), waiting(DESK, 2.0, position=2)]
    assert settled(calls, ()) == calls
    talk = handle(None, Initiated(0.0, CallId("talk"), GATE, FLAT.identity, Admission((FLAT.identity,), (FLAT,))))[0]
    assert talk is not None
    assert settled([talk, *calls], (FLAT,)) == [talk, *calls]


def test_a_caller_that_is_away_holds_up_nobody() -> None:
    first, _ = handle(waiting(DOOR, 1.0), Vanished(5.0, DOOR.endpoint))
    assert first is not None
    after = settled([first, waiting(DESK, 2.0, position=2)], (FLAT,))
    assert places(after) == {"door": 1, "desk": "ringing"}


def test_each_name_has_a_queue_of_its_own_and_the_first_comer_of_all_gets_the_device() -> None:
    calls = [waiting(DOOR, 1.0, "house", 1, "flat", "gate"), waiting(DESK, 2.0), waiting(ATTIC, 3.0, position=2)]
    assert (place(calls, IdentityId("house"), 5), place(calls, FLAT.identity, 5)) == (2, 3)
    assert place(calls, FLAT.identity, 2) is None, "the queue is full"
    after = settled(calls, (FLAT,))
    assert places(after) == {"door": "ringing", "desk": 1, "attic": 2}


def test_who_does_not_want_to_be_disturbed_is_not_rung_and_nobody_waits_for_them() -> None:
    calls = [waiting(DOOR, 1.0), waiting(DESK, 2.0, "house", 1, "flat", "gate")]
    after = settled(calls, (FLAT, GATE), silence=lambda who: who == "flat")
    assert places(after) == {"door": HubPhase.ENDED.value, "desk": "ringing"}
    assert [leg.party for leg in after[1].ringing] == [GATE]
    after = settled(calls[1:], (FLAT, GATE), silence=lambda who: who == "house")
    assert places(after) == {"desk": HubPhase.ENDED.value}
