"""One function per phase of a station's call: each decides every event that can reach it (`core/call.py` has settled
the rest before). An event that means nothing in a phase changes nothing there."""

from collections.abc import Callable

from msgspec.structs import replace

from intercomd.core import asides, auto, closing, reconcile, recovery
from intercomd.core.effects import AddCandidate, ApplyRemote, CancelTimer, Effect, Persist, Report, Send, StartTimer
from intercomd.core.events import (
    AnswerRequested,
    CallPressed,
    CandidateGathered,
    Card,
    Described,
    DialRequested,
    Event,
    HangupPressed,
    MediaLost,
    MediaSilent,
    MediaUp,
    PathChanged,
    Received,
    Replied,
    Timer,
    TimerFired,
    Unanswered,
)  # fmt: skip
from intercomd.core.protocol import (
    AcceptCall,
    AnswerReceived,
    CallAccepted,
    CallInitiated,
    CallQueued,
    CancelCall,
    CandidateReceived,
    Code,
    EndCall,
    IncomingCall,
    InitiateCall,
    Notice,
    OfferReceived,
    RejectCall,
    Reply,
    Request,
    RestartOrdered,
    TalkLimit,
    WebrtcAnswer,
    WebrtcIceCandidate,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.snapshot import Role, SavedPhase
from intercomd.core.station import Call, Phase, Station, Step, snapshot_of, with_call
from intercomd.core.vocabulary import EndReason, HubPhase  # fmt: skip
from intercomd.errors import ErrorCode
from intercomd.ids import CallId, IdentityId

_LOOK_AGAIN_S = 1.0

_REFUSALS = {
    Code.BUSY: EndReason.BUSY,
    Code.NOT_ALLOWED: EndReason.NOT_ALLOWED,
    Code.NOT_FOUND: EndReason.NOT_ALLOWED,
    Code.NOT_PARTICIPANT: EndReason.NOT_ALLOWED,
    Code.NOT_THIS_DEVICE: EndReason.ANSWERED_ELSEWHERE,
    Code.WRONG_PHASE: EndReason.ANSWERED_ELSEWHERE,
}


def idle(station: Station, event: Event, now_s: float) -> Step:
    match event:
        case CallPressed(fresh_call_id):
            failure = station.failure
            redial = failure.peer_id if failure and closing.is_retryable(failure.code) else None
            return _start_call(station, redial or station.settings.peer_id, fresh_call_id, now_s)
        case DialRequested(peer_id, fresh_call_id):
            return _start_call(station, peer_id, fresh_call_id, now_s)
        case HangupPressed():
            timers = (CancelTimer("failure"), CancelTimer("tone"))
            return replace(station, failure=None), timers if station.failure else ()
        case Replied(AcceptCall() | WebrtcOffer() | WebrtcAnswer() | WebrtcRestart() | InitiateCall(), reply):
            return station, _settle_reply(station, reply)
        case _:
            return station, ()


def _settle_reply(station: Station, reply: Reply) -> tuple[Effect, ...]:
    """A late reply about a call that is over here: if the hub thinks that it is up, say goodbye again."""
    state = reply.call
    if state is None or state.phase is HubPhase.ENDED:
        return ()
    buried = next((tombstone for tombstone in station.tombstones if tombstone.call_id == state.call_id), None)
    return (Send(closing.goodbye(buried)),) if buried else ()


def _start_call(station: Station, peer_id: IdentityId | None, call_id: CallId, now_s: float) -> Step:
    if peer_id is None:
        return closing.refuse(station, ErrorCode.PEER_NOT_CONFIGURED, None)
    ready = station.card is Card.READY
    phase = Phase.DIALLING if ready else Phase.WAITING_CARD
    call = Call(call_id=call_id, role=Role.CALLER, peer_id=peer_id, phase=phase, started_at=now_s)
    station = replace(station, call=call, failure=None)
    if ready:
        return dial(station, call)
    return station, (StartTimer(Timer("card", call_id), station.settings.card_wait_s),)


def dial(station: Station, call: Call) -> Step:
    """The card is there: write the call down and ask the hub for it."""
    dialling = with_call(station, replace(call, phase=Phase.DIALLING, saved=SavedPhase.DIALLING))
    report = Report(ErrorCode.CALL_DIALLED, call.call_id, call.peer_id)
    after, effects = reconcile.dial(dialling, call)
    return after, (CancelTimer("card"), Persist(snapshot_of(dialling)), *effects, report)


def _waiting_card(station: Station, call: Call, event: Event, now_s: float) -> Step:
    match event:
        case TimerFired(Timer("card")):
            code, reason = closing.CARD_CODES.get(station.card, (ErrorCode.CARD_MISSING, EndReason.CARD_MISSING))
            return closing.fail(station, call, code, reason, now_s)
        case HangupPressed():
            return _hang_up(station, call, now_s)
        case _:
            return station, ()


def _dialling(station: Station, call: Call, event: Event, now_s: float) -> Step:
    match event:
        case Replied(InitiateCall(call.call_id), reply):
            return _dial_replied(station, call, reply, now_s)
        case Unanswered(InitiateCall(call.call_id)) if station.registered:
            return station, (Send(InitiateCall(call.call_id, call.peer_id)),)
        case TimerFired(Timer("dial")):
            if station.registered:
                return closing.fail(station, call, ErrorCode.SETUP_TIMEOUT, EndReason.TIMEOUT, now_s)
            return closing.fail(station, call, ErrorCode.HUB_UNREACHABLE, EndReason.NETWORK, now_s)
        case _:
            return _calling(station, call, event, now_s)


def _dial_replied(station: Station, call: Call, reply: Reply, now_s: float) -> Step:
    state = reply.call
    if not reply.ok:
        return closing.ended(station, call, _reason(reply), now_s)
    if state is None or state.call_id == call.call_id:
        if state is not None and state.phase is HubPhase.ENDED:
            return closing.ended(station, call, state.end_reason or EndReason.FAILED, now_s)
        queued = state.queue_position if state is not None else None
        return with_call(station, replace(call, phase=Phase.CALLING, queued=queued)), (
            CancelTimer("dial"),
            reconcile.ring_limit(station, call),
        )
    return reconcile.glare(station, call, state, now_s)


def _reason(reply: Reply) -> EndReason:
    if reply.call is not None and reply.call.end_reason is not None:
        return reply.call.end_reason
    return _REFUSALS.get(reply.code or Code.INTERNAL, EndReason.FAILED)


def _calling(station: Station, call: Call, event: Event, now_s: float) -> Step:
    """Dialling, acknowledged or ringing: the caller waits for an answer."""
    match event:
        case PathChanged():
            return station, reconcile.prepared_anew(call)
        case Received(CallInitiated(ring_timeout=limit_s)):
            return reconcile.ringing_out(station, call, limit_s)
        case Received(CallQueued(position=position, ring_timeout=limit_s)):
            return reconcile.queued(station, call, position, limit_s)
        case Received(CallAccepted() as notice):
            return reconcile.answered(station, call, notice.epoch, notice.accepter_id, notice.accepter_name, now_s)
        case TimerFired(Timer("ring")):
            return closing.fail(station, call, ErrorCode.RING_TIMEOUT, EndReason.TIMEOUT, now_s)
        case HangupPressed():
            return _hang_up(station, call, now_s)
        case _:
            return station, ()


def _ringing_in(station: Station, call: Call, event: Event, now_s: float) -> Step:
    match event:
        case CallPressed() | AnswerRequested():
            return _answered_by_hand(station, call, now_s)
        case TimerFired(Timer("auto")) if call.auto:
            return _answered_by_itself(station, call, now_s)
        case HangupPressed():
            return _hang_up(station, call, now_s)
        case PathChanged():
            return station, reconcile.prepared_anew(call)
        case TimerFired(Timer("ring")):
            return closing.end(station, call, EndReason.TIMEOUT, now_s)
        case _:
            return station, ()


def _answered_by_hand(station: Station, call: Call, now_s: float) -> Step:
    announced = (CancelTimer("auto"),) if call.auto else ()
    station, call = auto.taken_over(station, call)
    if station.card is Card.READY:
        after, effects = reconcile.accept(station, call, now_s)
        return after, (*announced, *effects)
    waiting = with_call(station, replace(call, phase=Phase.WAITING_CARD))
    return waiting, (*announced, StartTimer(Timer("card", call.call_id), station.settings.card_wait_s))


def _answered_by_itself(station: Station, call: Call, now_s: float) -> Step:
    """Without a card or a hub it goes on ringing, for a person too, and is tried again."""
    if not (station.registered and station.card is Card.READY):
        return station, (StartTimer(Timer("auto", call.call_id), _LOOK_AGAIN_S),)
    after, effects = reconcile.accept(station, call, now_s)
    return after, (*effects, Report(ErrorCode.CALL_AUTO_ANSWERED, call.call_id, call.peer_id))


def _connecting(station: Station, call: Call, event: Event, now_s: float) -> Step:
    match event:
        case Replied(AcceptCall(call.call_id), reply):
            return _accept_replied(station, call, reply, now_s)
        case Unanswered(AcceptCall(call.call_id)) if station.registered and call.epoch == 0:
            return station, (Send(AcceptCall(call.call_id)),)
        case TimerFired(Timer("connect")) if call.epoch == 0 and station.registered:
            # The hub has never confirmed the answer: there is no epoch to leave. (Without a link it has not heard of it
            # yet: like every attempt that waits for the link, the answer has the whole grace.)
            return closing.fail(station, call, ErrorCode.SETUP_TIMEOUT, EndReason.NETWORK, now_s)
        case _:
            return _in_call(station, call, event, now_s)


def _accept_replied(station: Station, call: Call, reply: Reply, now_s: float) -> Step:
    state = reply.call
    if not reply.ok:
        return closing.ended(station, call, _reason(reply), now_s)
    if state is not None and state.phase is HubPhase.ENDED:
        return closing.ended(station, call, state.end_reason or EndReason.COMPLETED, now_s)
    return recovery.adopt(station, call, state.epoch if state else 1)


def _in_call(station: Station, call: Call, event: Event, now_s: float) -> Step:
    """Answered: connecting, connected or reconnecting."""
    match event:
        case Received(notice):
            return _media_notice(station, call, notice)
        case Described(epoch, sdp) if epoch == call.epoch:
            kind = WebrtcOffer if sdp.type == "offer" else WebrtcAnswer
            return station, (Send(kind(call.call_id, sdp, epoch)),) if station.registered else ()
        case CandidateGathered(epoch, candidate) if epoch == call.epoch:
            trickled = WebrtcIceCandidate(call.call_id, candidate, epoch)
            return station, (Send(trickled),) if station.registered else ()
        case MediaUp(epoch) if epoch == call.epoch and call.phase is not Phase.CONNECTED:
            return recovery.audible(station, call)
        case MediaSilent(epoch) if epoch == call.epoch and call.phase is Phase.CONNECTED:
            return recovery.interrupted(station, call)
        case MediaLost(epoch, reason) if epoch == call.epoch:
            return recovery.recover(station, call, reason, now_s)
        case PathChanged(reason) if call.epoch:
            return recovery.rerouted(station, call, reason, now_s)
        case Replied(request, reply):
            return _media_replied(station, call, request, reply, now_s)
        case Unanswered(WebrtcRestart(call.call_id, call.epoch)):
            return recovery.ask_later(station, call)
        case TimerFired(timer):
            return _media_timer(station, call, timer, now_s)
        case HangupPressed():
            return _hang_up(station, call, now_s)
        case CallPressed() | AnswerRequested() if call.auto:
            return auto.kept_by_hand(station, call)
        case CallPressed():
            return asides.prolong(station, call)
        case _:
            return station, ()


def _media_notice(station: Station, call: Call, notice: Notice) -> Step:
    match notice:
        case OfferReceived():
            return recovery.offered(station, call, notice)
        case AnswerReceived(epoch=call.epoch, sdp=sdp) if call.role is Role.CALLER:
            return station, (ApplyRemote(call.epoch, sdp),)
        case CandidateReceived(epoch=call.epoch, candidate=candidate):
            return station, (AddCandidate(call.epoch, candidate),)
        case RestartOrdered(epoch=epoch):
            return recovery.adopt(station, call, epoch)
        case TalkLimit(prolonged=prolonged):
            return asides.limit_told(station, prolonged)
        case _:
            return station, ()


def _media_replied(station: Station, call: Call, request: Request, reply: Reply, now_s: float) -> Step:
    match request:
        case WebrtcRestart(call.call_id) | WebrtcOffer(call.call_id) | WebrtcAnswer(call.call_id):
            state = reply.call
        case _:
            return station, ()
    if state is not None and state.phase is HubPhase.ENDED:
        return closing.ended(station, call, state.end_reason or EndReason.COMPLETED, now_s)
    if reply.code in (Code.NOT_FOUND, Code.NOT_PARTICIPANT, Code.NOT_THIS_DEVICE):
        return closing.ended(station, call, EndReason.FAILED, now_s)
    if call.phase is not Phase.CONNECTED and reply.code in (Code.RATE_LIMITED, Code.TRY_AGAIN, Code.INTERNAL):
        # A description that was not taken is of no use any more, and nobody else will miss it: ask for a new attempt.
        return recovery.ask_later(station, call)
    return recovery.adopt(station, call, state.epoch) if state is not None else (station, ())


def _media_timer(station: Station, call: Call, timer: Timer, now_s: float) -> Step:
    match timer.kind:
        case "connect" if call.phase is not Phase.CONNECTED:
            return recovery.recover(station, call, "no audio within the connect limit", now_s)
        case "retry" if call.phase is not Phase.CONNECTED:
            return recovery.ask(station, call)
        case "absent" if call.phase is not Phase.CONNECTED:
            code = ErrorCode.PEER_LOST if station.registered else ErrorCode.HUB_LOST
            reason = EndReason.PEER_LOST if station.registered else EndReason.NETWORK
            return closing.fail(station, call, code, reason, now_s)
        case "microphone" if not station.microphone:
            return recovery.open_microphone(station)
        case "auto" if call.auto:
            return auto.over(station, call, now_s)
        case _:
            return station, ()


def _restoring(station: Station, call: Call, event: Event, now_s: float) -> Step:
    match event:
        case HangupPressed():
            return _hang_up(station, call, now_s)
        case TimerFired(Timer("absent")):
            return closing.fail(station, call, ErrorCode.CALL_NOT_RESTORED, EndReason.NETWORK, now_s)
        case Received(IncomingCall()):
            # The hub rings here again: the ringing is restored (the resync's answer may come after it).
            if call.saved is not SavedPhase.RINGING:
                return station, ()
            return reconcile.ringing_again(station, call)
        case _:
            return station, ()


def _ending(station: Station, call: Call, event: Event, _now_s: float) -> Step:
    match event:
        case Replied(EndCall(call.call_id) | RejectCall(call.call_id) | CancelCall(call.call_id)):
            return with_call(station, None), (CancelTimer("ending"),)
        case Unanswered(EndCall(call.call_id) | RejectCall(call.call_id) | CancelCall(call.call_id)):
            return with_call(station, None), (CancelTimer("ending"),)
        case TimerFired(Timer("ending")):
            return with_call(station, None), ()
        case _:
            return station, ()


def _hang_up(station: Station, call: Call, now_s: float) -> Step:
    reason = EndReason.COMPLETED if closing.verb_for(call) == "end" else EndReason.CANCELLED
    if call.role is Role.CALLEE and reason is EndReason.CANCELLED:
        reason = EndReason.REJECTED
    return closing.end(station, call, reason, now_s)


PHASES: dict[Phase, Callable[[Station, Call, Event, float], Step]] = {
    Phase.WAITING_CARD: _waiting_card,
    Phase.DIALLING: _dialling,
    Phase.CALLING: _calling,
    Phase.RINGING_OUT: _calling,
    Phase.RINGING_IN: _ringing_in,
    Phase.CONNECTING: _connecting,
    Phase.CONNECTED: _in_call,
    Phase.RECONNECTING: _in_call,
    Phase.RESTORING: _restoring,
    Phase.ENDING: _ending,
}
