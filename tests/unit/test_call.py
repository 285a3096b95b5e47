"""The station's call reducer, rule by rule: how calls are made, answered and ended, and what they keep. Orders of
events are the explorer's work (tests/model)."""

import pytest

from intercomd.core.effects import (
    ApplyRemote,
    CloseMicrophone,
    Jingle,
    OpenMicrophone,
    Persist,
    Play,
    PrepareMedia,
    Send,
    SetRoute,
    SetVolumes,
    StartMedia,
    StartTimer,
    StopMedia,
)
from intercomd.core.events import (
    AnswerRequested,
    Booted,
    CallPressed,
    Card,
    CardChanged,
    Described,
    DialRequested,
    HangupPressed,
    LinkDown,
    LinkUp,
    MediaUp,
    PathChanged,
    Received,
    Replied,
    SpeakerPressed,
    Timer,
    TimerFired,
    Unanswered,
    VolumeChosen,
)
from intercomd.core.protocol import (
    AcceptCall,
    AnswerReceived,
    CallAccepted,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallInitiated,
    CallRejected,
    CancelCall,
    Code,
    EndCall,
    IncomingCall,
    InitiateCall,
    OfferReceived,
    RejectCall,
    Reply,
    Resync,
    WebrtcOffer,
)
from intercomd.core.snapshot import Role, Route, SavedPhase, Snapshot, Tombstone, Volumes
from intercomd.core.station import Phase, Settings, Shown, Station, shown
from intercomd.core.vocabulary import CallState, EndReason, HubPhase
from intercomd.errors import ErrorCode
from intercomd.ids import CallId, IdentityId
from tests.unit.desk import (
    ANSWER,
    C1,
    C2,
    DOOR,
    FLAT,
    OFFER,
    Desk,
    booted,
    connected,
    registered,
    ringing_in,
    saved,
    state,
)


def test_a_press_is_on_flash_before_the_hub_hears_of_it() -> None:
    desk = registered().hear(CallPressed(C1))
    assert desk.sent == [InitiateCall(C1, FLAT)]
    assert [type(effect) for effect in desk.effects].index(Persist) < [type(e) for e in desk.effects].index(Send)
    assert desk.only(Persist)[0].snapshot.call.call_id == C1


def test_without_a_peer_a_press_says_what_is_missing() -> None:
    desk = registered(peer=None).hear(CallPressed(C1))
    assert desk.station.call is None
    assert desk.station.failure.code is ErrorCode.PEER_NOT_CONFIGURED


def test_a_call_waits_for_the_card_and_goes_on_with_it() -> None:
    desk = registered().hear(CardChanged(Card.MISSING), CallPressed(C1))
    assert shown(desk.station.call) is Shown.PERMISSION
    assert not desk.sent
    assert desk.hear(CardChanged(Card.READY)).sent == [InitiateCall(C1, FLAT)]


@pytest.mark.parametrize(
    ("card", "code"),
    [(Card.MISSING, ErrorCode.CARD_MISSING), (Card.BUSY, ErrorCode.CARD_BUSY), (Card.DENIED, ErrorCode.CARD_DENIED)],
)
def test_a_card_that_does_not_come_fails_the_call_by_its_name(card: Card, code: ErrorCode) -> None:
    desk = registered().hear(CardChanged(card), CallPressed(C1), TimerFired(Timer("card", C1)))
    assert desk.station.failure.code is code
    assert not desk.sent, "the hub never heard of the call"


def test_answering_without_a_card_rejects_with_the_reason() -> None:
    desk = ringing_in().hear(CardChanged(Card.MISSING), CallPressed(C2))
    assert desk.phase is Phase.WAITING_CARD
    assert desk.hear(TimerFired(Timer("card", C1))).sent == [RejectCall(C1, EndReason.CARD_MISSING)]


def test_the_callers_way_to_a_call() -> None:
    desk = registered().hear(CallPressed(C1))
    assert shown(desk.station.call) is Shown.INITIALIZING
    desk.hear(Replied(InitiateCall(C1, FLAT), Reply(ok=True, call=state(HubPhase.RINGING, epoch=0))))
    assert shown(desk.station.call) is Shown.CONNECTING
    desk.hear(Received(CallInitiated(C1, 1)))
    assert shown(desk.station.call) is Shown.RINGING
    desk.hear(Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)))
    assert desk.only(StartMedia) == [StartMedia(C1, 1, offerer=True)]
    assert desk.only(OpenMicrophone)
    assert desk.hear(Described(1, OFFER)).sent == [WebrtcOffer(C1, OFFER, 1)]
    assert desk.hear(Received(AnswerReceived(C1, 3, "flat", 1, ANSWER))).only(ApplyRemote) == [ApplyRemote(1, ANSWER)]
    desk.hear(MediaUp(1))
    assert shown(desk.station.call) is Shown.CONNECTED
    assert desk.only(Play) == [Play(Jingle.CONNECTED)]


def test_the_callees_way_to_a_call() -> None:
    desk = ringing_in()
    assert desk.phase is Phase.RINGING_IN
    desk.hear(AnswerRequested())
    assert desk.sent == [AcceptCall(C1)]
    assert desk.only(Persist)[0].snapshot.call.phase is SavedPhase.CONNECTED
    desk.hear(Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING))))
    assert desk.only(StartMedia) == [StartMedia(C1, 1, offerer=False)]
    assert desk.hear(Received(OfferReceived(C1, 2, "door", 1, OFFER))).only(ApplyRemote) == [ApplyRemote(1, OFFER)]


def test_an_offer_that_overtakes_the_reply_is_not_lost() -> None:
    desk = ringing_in().hear(CallPressed(C2), Received(OfferReceived(C1, 2, "door", 1, OFFER)))
    assert desk.only(StartMedia) == [StartMedia(C1, 1, offerer=False)]
    assert desk.only(ApplyRemote) == [ApplyRemote(1, OFFER)]
    assert not desk.hear(Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING)))).only(StartMedia)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (EndReason.OFFLINE, ErrorCode.CALLEE_OFFLINE),
        (EndReason.BUSY, ErrorCode.CALLEE_BUSY),
        (EndReason.TIMEOUT, ErrorCode.RING_TIMEOUT),
        (EndReason.NOT_ALLOWED, ErrorCode.CALL_NOT_ALLOWED),
        (EndReason.DO_NOT_DISTURB, ErrorCode.CALLEE_BUSY),
    ],
)
def test_a_failed_dial_tells_why(reason: EndReason, code: ErrorCode) -> None:
    desk = registered().hear(CallPressed(C1), Received(CallFailed(C1, 1, reason)))
    assert desk.station.call is None
    assert desk.station.failure.code is code
    assert desk.only(Persist)[-1].record.end_reason is reason


def test_a_reply_that_is_already_over_fails_the_dial() -> None:
    over = Reply(ok=True, call=state(HubPhase.ENDED, end_reason=EndReason.OFFLINE))
    desk = registered().hear(CallPressed(C1), Replied(InitiateCall(C1, FLAT), over))
    assert desk.station.failure.code is ErrorCode.CALLEE_OFFLINE


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (Code.BUSY, ErrorCode.CALLEE_BUSY),
        (Code.NOT_ALLOWED, ErrorCode.CALL_NOT_ALLOWED),
        (Code.INTERNAL, ErrorCode.CALL_FAILED),
    ],
)
def test_a_refused_dial_tells_why(code: Code, failure: ErrorCode) -> None:
    desk = registered().hear(CallPressed(C1), Replied(InitiateCall(C1, FLAT), Reply(ok=False, code=code)))
    assert desk.station.failure.code is failure


def test_rejected_is_busy_tone_and_no_fault() -> None:
    desk = registered().hear(CallPressed(C1), Received(CallInitiated(C1, 1)), Received(CallRejected(C1, 2, "flat")))
    assert desk.station.failure.code is ErrorCode.CALL_REJECTED


def test_a_press_within_the_window_redials_the_failed_peer() -> None:
    desk = registered().hear(DialRequested(IdentityId("kitchen"), C1), Received(CallFailed(C1, 1, EndReason.OFFLINE)))
    assert desk.only(StartTimer)[-2].timer == Timer("failure")
    assert desk.only(StartTimer)[-2].delay_s == 10.0
    assert desk.hear(CallPressed(C2)).sent == [InitiateCall(C2, IdentityId("kitchen"))]


def test_after_the_window_a_press_calls_the_usual_peer() -> None:
    desk = registered().hear(DialRequested(IdentityId("kitchen"), C1), Received(CallFailed(C1, 1, EndReason.OFFLINE)))
    assert desk.hear(TimerFired(Timer("failure")), CallPressed(C2)).sent == [InitiateCall(C2, FLAT)]


def test_hang_up_is_the_ok_of_an_error() -> None:
    desk = registered().hear(CallPressed(C1), Received(CallFailed(C1, 1, EndReason.OFFLINE)), HangupPressed())
    assert desk.station.failure is None


@pytest.mark.parametrize(
    ("events", "goodbye"),
    [
        ((), CancelCall(C1)),
        ((Received(CallInitiated(C1, 1)),), CancelCall(C1)),
        ((Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)),), EndCall(C1, EndReason.COMPLETED)),
        ((Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)), MediaUp(1)), EndCall(C1, EndReason.COMPLETED)),
    ],
)
def test_hang_up_in_every_phase_of_the_caller(events: tuple, goodbye: object) -> None:
    desk = registered().hear(CallPressed(C1), *events, HangupPressed())
    assert desk.sent[-1] == goodbye
    assert desk.phase is Phase.ENDING
    assert desk.only(StopMedia)
    assert any(tombstone.call_id == C1 for tombstone in desk.only(Persist)[-1].snapshot.tombstones)
    assert desk.hear(Replied(goodbye, Reply(ok=True))).phase is None


def test_hang_up_of_a_ringing_call_rejects_it() -> None:
    assert ringing_in().hear(HangupPressed()).sent == [RejectCall(C1, EndReason.REJECTED)]


def test_the_microphone_closes_with_the_call() -> None:
    for last in (HangupPressed(), Received(CallEnded(C1, 9, reason=EndReason.COMPLETED))):
        desk = connected().hear(last)
        assert desk.only(CloseMicrophone)
        assert not desk.station.microphone


def test_a_hang_up_without_a_link_is_settled_by_the_resync() -> None:
    desk = connected().hear(LinkDown(), HangupPressed())
    assert desk.phase is None
    assert not desk.sent
    back = Reply(ok=True, calls=(state(HubPhase.CONNECTED),))
    assert desk.hear(LinkUp(), Replied(Resync(), back)).sent == [Resync(), EndCall(C1, EndReason.COMPLETED)]


def test_a_declined_call_that_rings_again_is_declined_again() -> None:
    desk = ringing_in().hear(LinkDown(), HangupPressed(), LinkUp())
    again = Received(IncomingCall(C1, 7, caller_id="door", ring_timeout=60))
    assert desk.hear(again).sent == [RejectCall(C1, EndReason.REJECTED)]
    assert desk.station.call is None


def test_the_hub_going_away_does_not_touch_a_call() -> None:
    desk = connected().hear(LinkDown())
    assert desk.phase is Phase.CONNECTED
    assert not desk.effects


def test_busy_stations_turn_a_second_caller_away() -> None:
    desk = connected().hear(Received(IncomingCall(C2, 1, caller_id="kitchen", ring_timeout=60)))
    assert desk.sent == [RejectCall(C2, EndReason.BUSY)]
    assert desk.phase is Phase.CONNECTED


def test_a_dial_from_before_the_restart_meets_the_other_sides_and_does_not_decline_it() -> None:
    """Both dialled, one was killed before the hub heard it; as it is back, the other's call rings here first."""
    desk = booted(saved(SavedPhase.DIALLING, Role.CALLER))
    desk.hear(Received(IncomingCall(C2, 1, caller_id="door", ring_timeout=60)))
    assert not desk.sent
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING, C2, epoch=0),))))
    assert desk.sent == [InitiateCall(C1, DOOR)]
    desk.hear(Replied(InitiateCall(C1, DOOR), Reply(ok=True, call=state(HubPhase.RINGING, C2, epoch=0))))
    assert desk.sent == [AcceptCall(C2)]
    desk.hear(Replied(AcceptCall(C2), Reply(ok=True, call=state(HubPhase.CONNECTING, C2))))
    assert not desk.only(OpenMicrophone), "nobody has pressed since the restart: a tone comes first"
    assert desk.only(Play) == [Play(Jingle.RESTORED)]


def test_a_call_from_somebody_else_wins_over_a_dial_from_before_the_restart() -> None:
    desk = booted(saved(SavedPhase.DIALLING, Role.CALLER))
    desk.hear(Received(IncomingCall(C2, 1, caller_id="kitchen", ring_timeout=60)))
    assert (desk.phase, desk.station.call.call_id) == (Phase.RINGING_IN, C2)
    assert not desk.sent


@pytest.mark.parametrize("phase", [SavedPhase.RINGING, SavedPhase.CONNECTED])
def test_what_rings_after_a_restart_is_not_declined_for_a_call_that_is_over(phase: SavedPhase) -> None:
    """The hub rings no device that has a part in a call, so the one from before the restart is over."""
    desk = booted(saved(phase))
    desk.hear(Received(IncomingCall(C2, 1, caller_id="kitchen", ring_timeout=60)))
    assert (desk.phase, desk.station.call.call_id) == (Phase.RINGING_IN, C2)
    assert not desk.sent
    assert [effect.record.call_id for effect in desk.only(Persist) if effect.record] == [C1]
    assert desk.only(Persist)[-1].snapshot.call.call_id == C2
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING, C2, epoch=0),))))
    assert desk.phase is Phase.RINGING_IN


def test_glare_is_answered_not_fought() -> None:
    theirs = Reply(ok=True, call=CallState(C2, "flat", "door", HubPhase.RINGING, 0, 1, 0.0))
    desk = registered().hear(CallPressed(C1), Received(IncomingCall(C2, 1, caller_id="flat", ring_timeout=60)))
    assert desk.phase is Phase.DIALLING, "the hub judges"
    desk.hear(Replied(InitiateCall(C1, FLAT), theirs))
    assert desk.sent == [AcceptCall(C2)]
    assert desk.station.call.role is Role.CALLEE


def test_ringing_wins_over_a_dial_that_the_hub_has_not_taken() -> None:
    desk = registered().hear(CallPressed(C1), Received(IncomingCall(C2, 1, caller_id="kitchen", ring_timeout=60)))
    assert desk.phase is Phase.RINGING_IN
    assert desk.station.call.call_id == C2


def test_the_speaker_toggle_is_kept_for_a_restart_and_ends_with_the_call() -> None:
    desk = connected().hear(SpeakerPressed())
    assert desk.only(SetRoute) == [SetRoute(Route.HANDSET)]
    assert desk.only(Persist)[0].snapshot.call.route is Route.HANDSET
    assert desk.hear(HangupPressed()).only(SetRoute) == [SetRoute(Route.SPEAKER)]


def test_a_volume_is_bounded_heard_at_once_and_kept() -> None:
    desk = connected().hear(VolumeChosen(40, "ring"))
    assert desk.only(SetVolumes) == [SetVolumes(Volumes(ring=40))]
    (persist,) = desk.only(Persist)
    assert persist.snapshot.volumes == Volumes(ring=40)
    assert persist.snapshot.call is not None
    assert desk.hear(VolumeChosen(400, "voice")).only(SetVolumes) == []  # 100 is the most, and it was that
    assert desk.hear(VolumeChosen(-7)).only(SetVolumes) == [SetVolumes(Volumes(0, 0, 0))]
    assert desk.hear(VolumeChosen(0)).only(Persist) == []


def test_volumes_outlive_calls_and_restarts() -> None:
    ended = connected().hear(VolumeChosen(30), HangupPressed())
    assert ended.only(Persist)[0].snapshot.volumes == Volumes(30, 30, 30)
    again = booted(Snapshot(volumes=Volumes(voice=30, ring=999)))
    assert again.station.volumes == Volumes(voice=30)
    desk = Desk(Station(Settings())).hear(Booted(Snapshot(volumes=Volumes(30, 30, 30)), 1.0))
    assert desk.only(SetVolumes) == [SetVolumes(Volumes(30, 30, 30))]


def test_a_call_that_this_device_forgot_is_ended_at_the_hub() -> None:
    desk = registered().hear(
        LinkDown(), LinkUp(), Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.CONNECTED),)))
    )
    assert desk.sent[-1] == EndCall(C1, EndReason.FAILED)


def test_a_lost_reply_to_the_answer_is_asked_again() -> None:
    desk = ringing_in().hear(CallPressed(C2), Unanswered(AcceptCall(C1)))
    assert desk.sent == [AcceptCall(C1), AcceptCall(C1)]


def test_answered_elsewhere_ends_quietly() -> None:
    desk = ringing_in().hear(Received(CallCancelled(C1, 2, reason=EndReason.ANSWERED_ELSEWHERE)))
    assert desk.phase is None
    assert desk.station.failure is None


def test_a_hub_that_never_answers_the_dial_fails_it() -> None:
    desk = registered().hear(CallPressed(C1), TimerFired(Timer("dial", C1)))
    assert desk.station.failure.code is ErrorCode.SETUP_TIMEOUT
    offline = Desk(Station(Settings(peer_id=FLAT), card=Card.READY)).hear(
        CallPressed(C1), TimerFired(Timer("dial", C1))
    )
    assert offline.station.failure.code is ErrorCode.HUB_UNREACHABLE


def test_a_failed_resync_is_asked_again() -> None:
    desk = Desk(Station(Settings(), card=Card.READY)).hear(LinkUp(), Unanswered(Resync()))
    assert desk.hear(TimerFired(Timer("resync"))).sent == [Resync()]


def test_tombstones_are_bounded() -> None:
    desk = registered()
    for number in range(40):
        desk.hear(CallPressed(CallId(f"n{number}")), HangupPressed(), Replied(CancelCall(f"n{number}"), Reply(ok=True)))
    assert len(desk.station.tombstones) == 16
    assert isinstance(desk.station.tombstones[-1], Tombstone)


def test_candidates_are_gathered_while_it_rings_at_both_ends_and_dropped_with_the_call() -> None:
    callee = ringing_in()
    assert callee.only(PrepareMedia)
    assert callee.hear(HangupPressed()).only(StopMedia)
    caller = registered().hear(CallPressed(C1), Received(CallInitiated(C1, 1)))
    assert caller.only(PrepareMedia)
    assert caller.hear(Received(CallRejected(C1, 2, "flat"))).only(StopMedia)


def test_another_network_while_it_rings_gathers_anew() -> None:
    effects = ringing_in().hear(PathChanged("x")).effects
    assert [type(effect) for effect in effects] == [StopMedia, PrepareMedia]
