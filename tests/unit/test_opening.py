"""Who takes part in a call with a door, as the hub sees it."""

from msgspec.structs import replace

from intercomd.core.legs import HubCall
from intercomd.core.opening import permitted, talks_with
from intercomd.core.protocol import AcceptCall
from intercomd.ids import IdentityId
from tests.unit.hub_calls import CALL, DESK, DOOR, FLAT, FLAT_2, THIEF, connected, connecting, ended, request, ringing

AT_DOOR, AT_FLAT = IdentityId("door"), IdentityId("flat")


def test_only_the_two_who_talk_count() -> None:
    call = connected()
    assert talks_with(call, FLAT.endpoint, AT_DOOR)
    assert talks_with(call, DOOR.endpoint, AT_FLAT)
    for stranger in (THIEF, DESK, FLAT_2):
        assert not talks_with(call, stranger.endpoint, AT_DOOR)


def test_only_the_other_side_of_the_call_counts() -> None:
    for elsewhere in ("flat", "desk", "nobody"):
        assert not talks_with(connected(), FLAT.endpoint, IdentityId(elsewhere))


def test_only_an_open_call_that_was_answered_counts() -> None:
    unanswered: tuple[HubCall | None, ...] = (None, ringing(), ended())
    for call in unanswered:
        assert not talks_with(call, FLAT.endpoint, AT_DOOR)
        assert not talks_with(call, DOOR.endpoint, AT_FLAT)
    assert talks_with(connecting(), FLAT.endpoint, AT_DOOR)


def test_who_was_only_rung_does_not_talk() -> None:
    answered = request(ringing(FLAT, FLAT_2, DESK), FLAT, AcceptCall(CALL))[0]
    assert talks_with(answered, FLAT.endpoint, AT_DOOR)
    assert not talks_with(answered, FLAT_2.endpoint, AT_DOOR)
    assert not talks_with(answered, DESK.endpoint, AT_DOOR)
    assert not talks_with(answered, DOOR.endpoint, IdentityId("desk"))


def test_a_peer_that_is_away_for_a_moment_is_still_in_the_call() -> None:
    call = connected()
    away = replace(call, caller=replace(call.caller, absent_since_s=5.0))
    assert talks_with(away, FLAT.endpoint, AT_DOOR)


def test_a_right_for_calls_is_worth_nothing_outside_one() -> None:
    assert permitted(always=True, in_call=False, talking=False)
    assert permitted(always=False, in_call=True, talking=True)
    assert not permitted(always=False, in_call=True, talking=False)
    assert not permitted(always=False, in_call=False, talking=True)
