"""The station's call reducer, rule by rule. Orders of events are the explorer's work (tests/model)."""

import pytest

from intercomd.core import call as core
from intercomd.core.effects import (
    ApplyRemote,
    CancelTimer,
    CloseMicrophone,
    Jingle,
    OpenMicrophone,
    Persist,
    Play,
    PrepareMedia,
    Report,
    Send,
    SetRoute,
    SetVolumes,
    StartMedia,
    StartTimer,
    StopMedia,
)  # fmt: skip
from intercomd.core.events import (
    AnswerRequested,
    Booted,
    CallPressed,
    Card,
    CardChanged,
    ClockSet,
    Described,
    DialRequested,
    HangupPressed,
    LinkDown,
    LinkUp,
    MediaLost,
    MediaSilent,
    MediaUp,
    PathChanged,
    Received,
    Replied,
    SpeakerPressed,
    Timer,
    TimerFired,
    Unanswered,
    VolumeChosen,
)  # fmt: skip
from intercomd.core.protocol import (
    AcceptCall,
    AnswerReceived,
    CallAccepted,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallInitiated,
    CallRejected,
    CallState,
    CallStateChanged,
    CancelCall,
    Code,
    EndCall,
    EndReason,
    HubPhase,
    IncomingCall,
    InitiateCall,
    OfferReceived,
    RejectCall,
    Reply,
    RestartOrdered,
    Resync,
    Sdp,
    WebrtcOffer,
    WebrtcRestart,
)  # fmt: skip
from intercomd.core.snapshot import Role, Route, SavedCall, SavedPhase, Snapshot, Tombstone, Volumes
from intercomd.core.station import Phase, Settings, Shown, Station, shown
from intercomd.errors import ErrorCode
from intercomd.ids import CallId, IdentityId

FLAT, DOOR = IdentityId("flat"), IdentityId("door")
C1, C2 = CallId("c1"), CallId("c2")
OFFER, ANSWER = Sdp("offer", "o"), Sdp("answer", "a")


class Desk:
    """A station with its last effects."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.effects: tuple = ()

    def hear(self, *events: object) -> "Desk":
        self.effects = ()
        for event in events:
            self.station, effects = core.handle(self.station, event, 1000.0)
            self.effects += effects
        return self

    def only(self, kind: type) -> list:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def sent(self) -> list:
        return [effect.request for effect in self.only(Send)]

    @property
    def phase(self) -> Phase | None:
        return self.station.call.phase if self.station.call else None


def state(phase: HubPhase, call_id: str = C1, epoch: int = 1, **more: object) -> CallState:
    return CallState(call_id, "door", "flat", phase, epoch, 1, 0.0, **more)


def registered(peer: str | None = FLAT, **settings: object) -> Desk:
    desk = Desk(Station(Settings(peer_id=IdentityId(peer) if peer else None, **settings), card=Card.READY))
    return desk.hear(LinkUp(), Replied(Resync(), Reply(ok=True, calls=())))


def ringing_in(**settings: object) -> Desk:
    return registered(**settings).hear(Received(IncomingCall(C1, 1, caller_id="door", ring_timeout=60)))


def connected(role: Role = Role.CALLER) -> Desk:
    if role is Role.CALLER:
        desk = registered().hear(CallPressed(C1), Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)))
    else:
        accepted = Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING)))
        desk = ringing_in().hear(CallPressed(C2), accepted)
    return desk.hear(MediaUp(1))


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
        (EndReason.OFFLINE, ErrorCode.CALLEE_OFFLINE), (EndReason.BUSY, ErrorCode.CALLEE_BUSY),
        (EndReason.TIMEOUT, ErrorCode.RING_TIMEOUT), (EndReason.NOT_ALLOWED, ErrorCode.CALL_NOT_ALLOWED),
        (EndReason.DO_NOT_DISTURB, ErrorCode.CALLEE_BUSY),
    ],
)  # fmt: skip
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


def test_silence_is_shown_and_loss_is_rebuilt() -> None:
    desk = connected().hear(MediaSilent(1))
    assert shown(desk.station.call) is Shown.RECONNECTING
    assert not desk.sent
    assert desk.hear(MediaLost(1, "silence")).sent == [WebrtcRestart(C1, 1)]
    next_epoch = Reply(ok=True, call=state(HubPhase.INTERRUPTED, epoch=2))
    assert desk.hear(Replied(WebrtcRestart(C1, 1), next_epoch)).only(StartMedia) == [StartMedia(C1, 2, offerer=True)]
    assert desk.hear(MediaUp(2)).phase is Phase.CONNECTED
    assert not desk.only(Play), "the beep is for a call's beginning"


def test_audio_that_comes_back_by_itself_needs_no_restart() -> None:
    assert connected().hear(MediaSilent(1), MediaUp(1)).phase is Phase.CONNECTED


def test_three_attempts_with_growing_pauses_then_one_named_cause() -> None:
    desk = connected().hear(MediaLost(1, "x"))
    pauses = []
    for epoch in (2, 3):
        desk.hear(Received(RestartOrdered(C1, 10 + epoch, epoch)), TimerFired(Timer("connect", C1, epoch)))
        pauses += [effect.delay_s for effect in desk.only(StartTimer) if effect.timer.kind == "retry"]
        assert desk.hear(TimerFired(Timer("retry", C1, epoch))).sent == [WebrtcRestart(C1, epoch)]
    assert pauses == [1.0, 2.0]
    desk.hear(Received(RestartOrdered(C1, 20, 4)), TimerFired(Timer("connect", C1, 4)))
    assert desk.sent == [EndCall(C1, EndReason.MEDIA_FAILED)]
    assert desk.station.failure.code is ErrorCode.MEDIA_FAILED


def test_an_absent_peer_costs_no_attempt_and_gets_the_whole_grace() -> None:
    away = Received(CallStateChanged(C1, 9, state(HubPhase.INTERRUPTED, peer_present=False)))
    desk = connected().hear(away, MediaLost(1, "silence"))
    assert not desk.sent
    assert [(e.timer.kind, e.delay_s) for e in desk.only(StartTimer)] == [("absent", 120.0)]
    back = Received(CallStateChanged(C1, 10, state(HubPhase.INTERRUPTED, peer_present=True)))
    assert desk.hear(back).sent == [WebrtcRestart(C1, 1)]


def test_a_peer_that_stays_away_ends_the_call_by_name() -> None:
    away = Received(CallStateChanged(C1, 9, state(HubPhase.INTERRUPTED, peer_present=False)))
    desk = connected().hear(away, MediaLost(1, "silence"), TimerFired(Timer("absent", C1)))
    assert desk.station.failure.code is ErrorCode.PEER_LOST


def test_stale_epochs_change_nothing() -> None:
    desk = connected().hear(Received(RestartOrdered(C1, 9, 2)))
    before = desk.station
    for stale in (
        MediaUp(1),
        MediaLost(1, ""),
        MediaSilent(1),
        Described(1, OFFER),
        TimerFired(Timer("connect", C1, 1)),
    ):
        assert desk.hear(stale).station == before
        assert not desk.effects


def test_a_replayed_notice_changes_nothing() -> None:
    desk = connected().hear(Received(RestartOrdered(C1, 9, 2)))
    before = desk.station
    assert desk.hear(Received(RestartOrdered(C1, 9, 3))).station == before


def test_a_second_offer_for_a_running_epoch_gets_a_new_connection() -> None:
    desk = connected(Role.CALLEE).hear(Received(OfferReceived(C1, 9, "door", 1, OFFER)))
    assert desk.only(StartMedia) == [StartMedia(C1, 1, offerer=False)]
    assert desk.only(ApplyRemote)


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


def saved(phase: SavedPhase, role: Role = Role.CALLEE, route: Route = Route.SPEAKER) -> Snapshot:
    answered_at = 900.0 if phase is SavedPhase.CONNECTED else None
    return Snapshot(SavedCall(C1, role, DOOR, phase, 1, 890.0, answered_at, route=route))


def booted(snapshot: Snapshot, age_s: float | None = 1.0, **settings: object) -> Desk:
    desk = Desk(Station(Settings(**settings), card=Card.READY))
    return desk.hear(Booted(snapshot, age_s), LinkUp())


def test_a_connected_call_comes_back_with_a_tone_before_the_microphone() -> None:
    desk = booted(saved(SavedPhase.CONNECTED, route=Route.HANDSET))
    assert desk.station.route is Route.HANDSET
    assert shown(desk.station.call) is Shown.RECONNECTING
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.INTERRUPTED, epoch=3),))))
    assert desk.sent == [WebrtcRestart(C1, 3)]
    desk.hear(Replied(WebrtcRestart(C1, 3), Reply(ok=True, call=state(HubPhase.INTERRUPTED, epoch=4))))
    assert desk.only(StartMedia) == [StartMedia(C1, 4, offerer=False)]
    assert desk.only(Play) == [Play(Jingle.RESTORED)]
    assert not desk.only(OpenMicrophone)
    assert desk.hear(TimerFired(Timer("microphone", C1))).only(OpenMicrophone)


def test_ringing_comes_back_as_ringing_only_when_the_hub_still_rings() -> None:
    desk = booted(saved(SavedPhase.RINGING))
    assert desk.phase is Phase.RESTORING
    still = Reply(ok=True, calls=(state(HubPhase.RINGING, epoch=0),))
    assert desk.hear(Replied(Resync(), still)).phase is Phase.RINGING_IN
    over = Reply(ok=True, calls=(state(HubPhase.ENDED, end_reason=EndReason.CANCELLED),))
    assert booted(saved(SavedPhase.RINGING)).hear(Replied(Resync(), over)).phase is None


def test_a_dial_comes_back_as_the_same_dial() -> None:
    desk = booted(saved(SavedPhase.DIALLING, Role.CALLER)).hear(Replied(Resync(), Reply(ok=True, calls=())))
    assert desk.sent == [InitiateCall(C1, DOOR)]


def test_what_is_older_than_the_grace_is_not_restored() -> None:
    desk = booted(saved(SavedPhase.CONNECTED), age_s=121.0)
    assert desk.station.call is None
    assert [report.code for report in desk.only(Report)] == [ErrorCode.CALL_NOT_RESTORED]
    alive = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED),))
    assert EndCall(C1, EndReason.PEER_LOST) in desk.hear(Replied(Resync(), alive)).sent


def test_a_station_told_not_to_restore_ends_the_call() -> None:
    assert booted(saved(SavedPhase.CONNECTED), restore=False).station.call is None


def test_a_restored_call_that_is_over_is_not_restored() -> None:
    over = Reply(ok=True, calls=(state(HubPhase.ENDED, end_reason=EndReason.COMPLETED),))
    assert booted(saved(SavedPhase.CONNECTED)).hear(Replied(Resync(), over)).phase is None


def test_a_boot_that_never_reaches_the_hub_gives_up_after_the_grace() -> None:
    desk = booted(saved(SavedPhase.CONNECTED), age_s=20.0)
    assert [
        e.delay_s for e in Desk(Station(Settings())).hear(Booted(saved(SavedPhase.CONNECTED), 20.0)).only(StartTimer)
    ] == [100.0]
    assert desk.hear(TimerFired(Timer("absent", C1))).phase is not Phase.RESTORING


def test_a_call_that_this_device_forgot_is_ended_at_the_hub() -> None:
    desk = registered().hear(
        LinkDown(), LinkUp(), Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.CONNECTED),)))
    )
    assert desk.sent[-1] == EndCall(C1, EndReason.FAILED)


def test_a_lost_reply_to_the_answer_is_asked_again() -> None:
    desk = ringing_in().hear(CallPressed(C2), Unanswered(AcceptCall(C1)))
    assert desk.sent == [AcceptCall(C1), AcceptCall(C1)]


def test_an_answer_that_the_hub_never_heard_is_given_again_after_a_power_cut() -> None:
    desk = booted(saved(SavedPhase.CONNECTED))
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING, epoch=0),))))
    assert desk.sent == [AcceptCall(C1)]


def test_an_answer_that_the_hub_could_not_hear_waits_for_the_link() -> None:
    """The hub died as somebody answered, and came back after the connect limit: the answer counts."""
    desk = ringing_in().hear(CallPressed(C2), LinkDown(), Unanswered(AcceptCall(C1)))
    desk.hear(TimerFired(Timer("connect", C1)))
    assert desk.phase is Phase.CONNECTING
    assert desk.only(StartTimer) == [StartTimer(Timer("absent", C1), desk.station.settings.grace_s)]
    desk.hear(LinkUp(), Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING, epoch=0),))))
    assert desk.sent[-1] == AcceptCall(C1)
    assert [effect.kind for effect in desk.only(CancelTimer)].count("absent") == 1
    unheard = ringing_in().hear(CallPressed(C2), LinkDown(), TimerFired(Timer("connect", C1)))
    assert unheard.hear(TimerFired(Timer("absent", C1))).phase is None
    mute = ringing_in().hear(CallPressed(C2), TimerFired(Timer("connect", C1)))
    assert mute.phase is Phase.ENDING, "a hub that is there and says nothing has its limit"


def test_a_link_lost_during_set_up_asks_for_a_new_epoch() -> None:
    accepted = Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING)))
    desk = ringing_in().hear(CallPressed(C2), accepted, LinkDown(), LinkUp())
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.CONNECTING),))))
    assert desk.sent == [WebrtcRestart(C1, 1)], "the offer may have gone by while the link was down"


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


def test_the_offer_of_a_running_connection_may_come_twice() -> None:
    """The same words again (a reply got lost) are no restart: the caller would see a second, different answer."""
    desk = connected(Role.CALLEE).hear(Received(OfferReceived(C1, 9, "door", 1, OFFER)))
    desk.hear(MediaUp(1), Received(OfferReceived(C1, 10, "door", 1, OFFER)))
    assert not desk.only(StartMedia)
    assert desk.only(ApplyRemote) == [ApplyRemote(1, OFFER)]


@pytest.mark.parametrize("gone", [(), (MediaSilent(1),), (MediaSilent(1), MediaLost(1, "silence"))])
def test_a_browsers_restart_offer_gets_a_new_connection_in_every_phase(gone: tuple) -> None:
    """RFC 8839 section 4.4.1.1.1: a new ufrag under the running session. aiortc would answer and move nothing."""
    desk = connected(Role.CALLEE).hear(Received(OfferReceived(C1, 9, "door", 1, OFFER)), MediaUp(1), *gone)
    restart = Sdp("offer", "o with another ufrag")
    desk.hear(Received(OfferReceived(C1, 10, "door", 1, restart)))
    assert desk.only(StartMedia) == [StartMedia(C1, 1, offerer=False)]
    assert desk.only(ApplyRemote) == [ApplyRemote(1, restart)]
    assert desk.phase is Phase.RECONNECTING


def test_the_first_offer_of_an_epoch_meets_the_connection_that_waits_for_it() -> None:
    accepted = Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING)))
    desk = ringing_in().hear(CallPressed(C2), accepted).hear(Received(OfferReceived(C1, 3, "door", 1, OFFER)))
    assert not desk.only(StartMedia)
    assert desk.only(ApplyRemote) == [ApplyRemote(1, OFFER)]


def test_nothing_is_attempted_while_the_peer_is_away_and_attempts_begin_anew() -> None:
    desk = connected().hear(MediaLost(1, "x"), Received(RestartOrdered(C1, 9, 2)), TimerFired(Timer("connect", C1, 2)))
    away = Received(CallStateChanged(C1, 10, state(HubPhase.INTERRUPTED, epoch=2, peer_present=False)))
    desk.hear(away).hear(TimerFired(Timer("retry", C1, 2)))
    assert not desk.sent
    assert [(e.timer.kind, e.delay_s) for e in desk.only(StartTimer)] == [("absent", 120.0)]
    back = Received(CallStateChanged(C1, 11, state(HubPhase.INTERRUPTED, epoch=2, peer_present=True)))
    assert desk.hear(back).sent == [WebrtcRestart(C1, 2)]
    assert desk.station.call.attempts == 1


def test_a_link_that_breaks_again_and_again_uses_no_attempt_up() -> None:
    desk = connected().hear(MediaLost(1, "x"))
    for _ in range(5):
        truth = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED),))
        desk.hear(LinkDown(), LinkUp()).hear(Replied(Resync(), truth))
        assert desk.sent == [WebrtcRestart(C1, 1)]


def test_another_network_under_a_call_means_a_new_epoch_at_once() -> None:
    desk = connected().hear(PathChanged("the address 192.0.2.7 is gone"))
    assert desk.sent == [WebrtcRestart(C1, 1)]
    assert desk.phase is Phase.RECONNECTING
    assert [report.reason for report in desk.only(Report)] == ["the address 192.0.2.7 is gone"]


def test_another_network_without_a_link_waits_for_the_link() -> None:
    desk = connected().hear(LinkDown(), PathChanged("x"))
    assert not desk.sent
    assert [e.timer.kind for e in desk.only(StartTimer)] == ["absent"]
    desk.hear(LinkUp(), Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.CONNECTED),))))
    assert desk.sent[-1] == WebrtcRestart(C1, 1)


def test_another_network_while_nobody_talks_changes_nothing() -> None:
    desk = registered()
    before = desk.station
    assert desk.hear(PathChanged("x")).station == before
    assert not desk.effects


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


YEAR_S = 365 * 86400.0
KEPT_AT_S = 5000.0


@pytest.mark.parametrize(
    ("hub_s", "comes_back"),
    [(KEPT_AT_S + 119, True), (KEPT_AT_S + 121, False), (KEPT_AT_S - YEAR_S, True), (KEPT_AT_S + YEAR_S, False)],
)
def test_over_a_reboot_the_hubs_time_says_whether_a_call_is_too_old(hub_s: float, comes_back: bool) -> None:
    desk = Desk(Station(Settings(), card=Card.READY)).hear(
        Booted(saved(SavedPhase.CONNECTED), None, KEPT_AT_S), LinkUp()
    )
    assert desk.phase is Phase.RESTORING, "the station's own clock does not judge"
    truth = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED),), server_time=hub_s)
    desk.hear(Replied(Resync(), truth))
    assert (desk.phase is Phase.RECONNECTING) is comes_back
    if not comes_back:
        assert desk.sent == [EndCall(C1, EndReason.PEER_LOST)]
        assert ErrorCode.CALL_NOT_RESTORED in [report.code for report in desk.only(Report)]


def test_within_a_boot_the_hubs_time_does_not_judge() -> None:
    desk = Desk(Station(Settings(), card=Card.READY)).hear(
        Booted(saved(SavedPhase.CONNECTED), 2.0, KEPT_AT_S), LinkUp()
    )
    truth = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED),), server_time=KEPT_AT_S + YEAR_S)
    assert desk.hear(Replied(Resync(), truth)).phase is Phase.RECONNECTING


@pytest.mark.parametrize("shift_s", [-YEAR_S, YEAR_S])
def test_a_clock_that_is_set_in_a_call_takes_its_times_along(shift_s: float) -> None:
    desk = connected()
    before = desk.station.call
    desk.hear(ClockSet(shift_s))
    assert desk.phase is Phase.CONNECTED
    call = desk.station.call
    assert (call.started_at, call.answered_at) == (before.started_at + shift_s, before.answered_at + shift_s)
    assert desk.only(Persist)[0].snapshot.call.answered_at == call.answered_at
    _, effects = core.handle(desk.station, HangupPressed(), 1000.0 + shift_s + 60.0)
    (record,) = [effect.record for effect in effects if isinstance(effect, Persist)]
    assert record.ended_at - record.answered_at == 60.0


def test_a_clock_that_is_set_while_idle_or_restoring_moves_nothing() -> None:
    desk = registered()
    assert not desk.hear(ClockSet(YEAR_S)).effects
    desk = booted(saved(SavedPhase.CONNECTED))
    before = desk.station
    assert desk.hear(ClockSet(YEAR_S)).station == before


def test_after_a_power_cut_of_both_ends_the_last_one_back_asks_and_nobody_earlier() -> None:
    """A restart that nobody can answer would only make the hub refuse the next one for a second."""
    desk = booted(saved(SavedPhase.CONNECTED))
    alone = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED, epoch=3, peer_present=False),))
    desk.hear(Replied(Resync(), alone))
    assert not desk.sent
    assert shown(desk.station.call) is Shown.RECONNECTING
    assert [(e.timer.kind, e.delay_s) for e in desk.only(StartTimer)] == [("absent", 120.0)]
    back = Received(CallStateChanged(C1, 9, state(HubPhase.INTERRUPTED, epoch=3, peer_present=True)))
    assert desk.hear(back).sent == [WebrtcRestart(C1, 3)]
    refused = Reply(ok=False, code=Code.STALE_EPOCH, call=state(HubPhase.INTERRUPTED, epoch=4))
    assert desk.hear(Replied(WebrtcRestart(C1, 3), refused)).only(StartMedia) == [StartMedia(C1, 4, offerer=False)]


def test_a_dial_that_rings_again_after_a_power_cut_has_its_limit() -> None:
    """Without one it would ring for ever once the hub is gone for good."""
    desk = booted(saved(SavedPhase.DIALLING, Role.CALLER))
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING, epoch=0),))))
    assert desk.phase is Phase.RINGING_OUT
    assert [(e.timer.kind, e.delay_s) for e in desk.only(StartTimer)] == [("ring", 120.0)]
    assert desk.hear(LinkDown(), TimerFired(Timer("ring", C1))).phase is None
