"""What a call does about its audio: silence, loss, epochs, the peer's and its own way through other networks."""

import pytest

from intercomd.core.effects import (
    ApplyRemote,
    CancelTimer,
    Play,
    Report,
    StartMedia,
    StartTimer,
)
from intercomd.core.events import (
    CallPressed,
    Described,
    LinkDown,
    LinkUp,
    MediaLost,
    MediaSilent,
    MediaUp,
    PathChanged,
    Received,
    Replied,
    Timer,
    TimerFired,
    Unanswered,
)
from intercomd.core.protocol import (
    AcceptCall,
    CallAccepted,
    CallStateChanged,
    Code,
    EndCall,
    OfferReceived,
    Reply,
    RestartOrdered,
    Resync,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.snapshot import Role
from intercomd.core.station import Phase, Shown, shown
from intercomd.core.vocabulary import EndReason, HubPhase, Sdp
from intercomd.errors import ErrorCode
from tests.unit.desk import C1, C2, OFFER, connected, registered, ringing_in, state


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


@pytest.mark.parametrize("code", [Code.RATE_LIMITED, Code.TRY_AGAIN, Code.INTERNAL])
def test_a_description_that_the_hub_did_not_take_is_followed_by_a_new_attempt(code: Code) -> None:
    """At once after a back-off: without it both ends wait until their limit to connect is over."""
    desk = registered().hear(CallPressed(C1), Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)))
    (offer,) = desk.hear(Described(1, OFFER)).sent
    assert offer == WebrtcOffer(C1, OFFER, 1)
    desk.hear(Replied(offer, Reply(ok=False, code=code)))
    assert [start.timer for start in desk.only(StartTimer)] == [Timer("retry", C1, 1)]
    assert desk.hear(TimerFired(Timer("retry", C1, 1))).sent == [WebrtcRestart(C1, 1)]
