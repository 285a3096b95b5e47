"""The talk limit: a warning before the end, and who prolongs it."""

import pytest

from intercomd.core.legs import HubCall, Limits
from intercomd.core.protocol import AcceptCall, CallEnded, ProlongCall, TalkLimit, WebrtcAnswer, WebrtcRestart
from intercomd.core.switch import handle
from intercomd.core.switchboard import LeaseExpired, Persist, Restored, Returned, SwitchEvent, Vanished
from intercomd.core.vocabulary import EndReason, HubPhase
from tests.unit.hub_calls import ANSWER, CALL, DOOR, FLAT, THIEF, Effects, kinds, request, ringing, told

LIMITED = Limits(talk_s=120.0, warning_s=30.0, setup_s=30.0, grace_s=40.0)


def talking(limits: Limits = LIMITED) -> HubCall:
    """Answered at 1 s, its voice to be heard from 2 s on."""
    call = request(ringing(limits=limits), FLAT, AcceptCall(CALL))[0]
    return request(call, FLAT, WebrtcAnswer(CALL, ANSWER, 1), 2.0)[0]


def step(call: HubCall, event: SwitchEvent) -> tuple[HubCall, Effects]:
    after, effects = handle(call, event)
    assert after is not None
    return after, effects


def limit_told(effects: Effects) -> list[tuple[float, bool]]:
    """What both have heard: how long it still lasts, and whether it was prolonged."""
    heard = [[notice for notice in told(effects, who) if isinstance(notice, TalkLimit)] for who in (DOOR, FLAT)]
    both = [[(notice.left_s, notice.prolonged) for notice in notices] for notices in heard]
    assert both[0] == both[1]
    return both[0]


def test_both_are_warned_before_the_end() -> None:
    call = talking()
    assert call.lease_s == 92.0
    assert step(call, LeaseExpired(91.9)) == (call, ())
    warned, effects = step(call, LeaseExpired(92.0))
    assert isinstance(effects[0], Persist)
    assert limit_told(effects) == [(30.0, False)]
    assert (warned.phase, warned.lease_s) == (HubPhase.CONNECTED, 122.0)
    over, effects = step(warned, LeaseExpired(122.0))
    assert over.end_reason is EndReason.TALK_LIMIT
    assert kinds(effects, DOOR) == kinds(effects, FLAT) == [CallEnded]


@pytest.mark.parametrize("who", [DOOR, FLAT])
def test_either_may_prolong_after_the_warning_and_both_hear_of_it(who: object) -> None:
    warned, _ = step(talking(), LeaseExpired(92.0))
    sender = DOOR if who is DOOR else FLAT
    longer, effects, reply = request(warned, sender, ProlongCall(CALL), 100.0)
    assert reply.ok
    assert limit_told(effects) == [(120.0, True)]
    assert longer.lease_s == 100.0 + 120.0 - 30.0
    again, effects, reply = request(longer, DOOR, ProlongCall(CALL), 100.4)
    assert (again, reply.ok, limit_told(effects)) == (longer, True, [])
    warned_again, effects = step(longer, LeaseExpired(190.0))
    assert limit_told(effects) == [(30.0, False)]
    assert warned_again.lease_s == 220.0


def test_prolonging_before_the_warning_is_silent() -> None:
    longer, effects, reply = request(talking(), DOOR, ProlongCall(CALL), 50.0)
    assert (longer.lease_s, limit_told(effects), reply.ok) == (140.0, [], True)


def test_only_participants_prolong_and_only_a_call_that_was_answered() -> None:
    call = talking()
    after, _, reply = request(call, THIEF, ProlongCall(CALL), 50.0)
    assert (after, reply.ok) == (call, False)
    rung = ringing(limits=LIMITED)
    after, _, reply = request(rung, DOOR, ProlongCall(CALL))
    assert (after, reply.ok) == (rung, False)
    connecting = request(rung, FLAT, AcceptCall(CALL))[0]
    after, _, reply = request(connecting, DOOR, ProlongCall(CALL))
    assert (after, reply.ok) == (connecting, True)


def test_a_restart_of_the_media_does_not_make_the_talk_longer() -> None:
    moved = request(talking(), DOOR, WebrtcRestart(CALL, 1), 60.0)[0]
    assert moved.lease_s == 90.0
    settled = request(moved, FLAT, WebrtcAnswer(CALL, ANSWER, 2), 61.0)[0]
    assert settled.lease_s == 92.0


def test_prolonging_while_the_media_restarts_counts() -> None:
    moved = request(talking(), DOOR, WebrtcRestart(CALL, 1), 60.0)[0]
    longer = request(moved, FLAT, ProlongCall(CALL), 61.0)[0]
    assert longer.lease_s == 90.0, "the set-up keeps its own limit"
    settled = request(longer, FLAT, WebrtcAnswer(CALL, ANSWER, 2), 62.0)[0]
    assert settled.lease_s == 61.0 + 120.0 - 30.0


def test_nobody_is_cut_off_unwarned_by_an_absence() -> None:
    away, _ = step(talking(), Vanished(90.0, FLAT.endpoint))
    assert away.lease_s == 130.0
    back, _ = step(away, Returned(125.0, FLAT))
    assert back.phase is HubPhase.CONNECTED
    warned, effects = step(back, LeaseExpired(125.0))
    assert limit_told(effects) == [(30.0, False)]
    assert warned.lease_s == 155.0


def test_who_missed_the_warning_hears_it_on_coming_back() -> None:
    warned, _ = step(talking(), LeaseExpired(92.0))
    away, _ = step(warned, Vanished(93.0, FLAT.endpoint))
    _, effects = step(away, Returned(100.0, FLAT))
    heard = [notice for notice in told(effects, FLAT) if isinstance(notice, TalkLimit)]
    assert [notice.left_s for notice in heard] == [22.0]


@pytest.mark.parametrize(("now_s", "warned_at"), [(50.0, 92.0), (-9000.0, -8910.0), (9e8, 9e8)])
def test_after_a_restart_of_the_hub_a_talk_is_neither_longer_nor_cut_off(now_s: float, warned_at: float) -> None:
    call, _ = step(talking(), Restored(now_s))
    call, _ = step(call, Returned(now_s, DOOR))
    call, _ = step(call, Returned(now_s, FLAT))
    assert call.lease_s is not None
    assert max(call.lease_s, now_s) == warned_at
    warned, effects = step(call, LeaseExpired(warned_at))
    assert limit_told(effects)[0][0] >= 30.0
    assert warned.phase is HubPhase.CONNECTED


def test_without_a_limit_nobody_is_warned_and_prolonging_changes_nothing() -> None:
    call = talking(Limits(talk_s=600.0))
    assert call.lease_s == 602.0
    after, _, reply = request(call, DOOR, ProlongCall(CALL), 50.0)
    assert (after, reply.ok) == (call, True)
    over, effects = step(call, LeaseExpired(602.0))
    assert (over.end_reason, kinds(effects, DOOR)) == (EndReason.COMPLETED, [CallEnded])
