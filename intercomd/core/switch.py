"""The hub's reducer: one call, every event, what is to be told to whom.

    Initiated ─▶ RINGING ─accept─▶ CONNECTING ─answer─▶ CONNECTED ⇄ INTERRUPTED
    any ─▶ ENDED, for ever                       (RINGING: round by round, or in a queue: core/hunting.py)

`handle` is pure: the clock and the facts outside the call come with the events (`core/admission.py` gathers
them). Effects are carried out in their order: `Persist` is committed before anything after it is delivered.
What replies mean:

* `initiate_call` that the hub took is `ok` with the call's state, also when that is `ended` at once (`busy`,
  `user_offline`, `do_not_disturb`, `not_allowed`): an attempt is a call, with a record. The caller hears
  `call_failed` as well. One that waits in a queue is `ringing` with its place.
* Glare: `ok` with the state of the *other* call, the one that already rings here (its id differs from the
  request's). A device that otherwise has a part in a call gets `busy`, with that call's state. In both cases
  no call is made.
* `cancel_call`, `reject_call` and `end_call` all mean "I leave": what follows depends on who says it, and
  when.
* Over is over: an event of a participant about an ended call is `ok` with its final state and changes
  nothing.
* A description or a candidate for an absent peer is `try_again`: nothing is queued for it.
"""

from typing import assert_never

from msgspec.structs import replace

from intercomd.core import attendance, hunting, relay, talk
from intercomd.core.legs import HubCall, Leg, LegState, is_participant, leg_of, peers_of
from intercomd.core.notices import (
    call_accepted,
    call_cancelled,
    call_ended,
    call_failed,
    call_initiated,
    call_queued,
)
from intercomd.core.protocol import (
    AcceptCall,
    CallMetrics,
    CallRejected,
    CancelCall,
    Code,
    EndCall,
    ProlongCall,
    RejectCall,
    RejoinCall,
    Reply,
    WebrtcAnswer,
    WebrtcIceCandidate,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.switchboard import (
    Answer,
    Initiated,
    LeaseExpired,
    Requested,
    Restored,
    Returned,
    Reviewed,
    Step,
    SwitchEffect,
    SwitchEvent,
    Tell,
    Unreached,
    Vanished,
    answer,
    armed,
    changed,
    closed,
    left,
    refuse,
    relayed,
    tell,
)
from intercomd.core.vocabulary import EndReason, HubPhase

REPORTABLE = frozenset(
    {
        EndReason.MEDIA_FAILED,
        EndReason.CARD_MISSING,
        EndReason.CARD_DENIED,
        EndReason.NETWORK,
        EndReason.PEER_LOST,
        EndReason.FAILED,
    }
)
"""What a client alone can know about the end of its call; every other reason is the hub's to give."""


def handle(call: HubCall | None, event: SwitchEvent) -> tuple[HubCall | None, tuple[SwitchEffect, ...]]:
    """One event of one call. `call` is None when the hub does not know the call id."""
    if call is None:
        return _unknown(event)
    match event:
        case Initiated():
            return _initiated_again(call, event)
        case Requested():
            return _requested(call, event)
        case Vanished():
            return attendance.vanished(call, event)
        case Returned():
            return attendance.returned(call, event)
        case LeaseExpired():
            return attendance.lease_expired(call, event)
        case Reviewed():
            return hunting.reviewed(call, event)
        case Unreached():
            return hunting.unreached(call, event)
        case Restored():
            return attendance.restored(call, event.now_s)
        case _:
            assert_never(event)


# ---------------------------------------------------------------------------------------------- beginning


def _unknown(event: SwitchEvent) -> tuple[HubCall | None, tuple[SwitchEffect, ...]]:
    match event:
        case Initiated():
            return _initiated(event)
        case Requested():
            message = "the hub does not know this call"
            return None, (Answer(Reply(ok=False, code=Code.NOT_FOUND, message=message)),)
        case Vanished() | Returned() | LeaseExpired() | Reviewed() | Unreached() | Restored():
            return None, ()
        case _:
            assert_never(event)


def _initiated(event: Initiated) -> tuple[HubCall | None, tuple[SwitchEffect, ...]]:
    admission = event.admission
    if admission.engaged is not None:
        return None, (_engaged(event, admission.engaged),)
    call = HubCall(
        call_id=event.call_id,
        caller=Leg(event.caller, LegState.BOUND),
        recipient_id=event.recipient_id,
        created_at=event.now_s,
        limits=event.limits,
        recipient_name=admission.recipient_name,
        conversation_id=event.conversation_id,
        members=admission.members,
    )
    after, effects = hunting.begin(call, event.now_s, admission)
    return after, (*effects, answer(after, event.caller.endpoint))


def _engaged(event: Initiated, other: HubCall) -> Answer:
    """The caller's device already has a part in another call. Glare is when that one rings here and comes
    from whom this one was to ring: the first initiate has won."""
    endpoint = event.caller.endpoint
    leg = leg_of(other, endpoint)
    rings_here = leg is not None and leg.state is LegState.RINGING
    if rings_here and other.caller.party.identity in event.admission.members:
        return answer(other, endpoint)
    return refuse(other, endpoint, Code.BUSY, "this device already has a part in another call")[0]


def _initiated_again(call: HubCall, event: Initiated) -> Step:
    """The same request once more: a client that saw no reply, or a legacy client, which always sends two and
    may have begun to listen only after the first one's notice."""
    endpoint = event.caller.endpoint
    if endpoint.identity != call.caller.party.identity:
        message = "another caller has used this call id; choose another one"
        return call, (Answer(Reply(ok=False, code=Code.CALL_ID_TAKEN, message=message)),)
    if endpoint != call.caller.endpoint:
        return call, refuse(call, endpoint, Code.NOT_THIS_DEVICE, "another device of yours started this call")
    if call.phase is HubPhase.RINGING:
        notice = call_initiated if call.position is None else call_queued
        after, tells = tell(call, (call.caller,), lambda now, _: notice(now, event.now_s))
        return relayed(call, after, tells, answer(after, endpoint))
    if call.phase is HubPhase.ENDED and not call.callees:
        return call, (Tell(endpoint, call_failed(call, call.caller)), answer(call, endpoint))
    return call, (answer(call, endpoint),)


# ----------------------------------------------------------------------------------------------- requests


def _requested(call: HubCall, event: Requested) -> Step:
    sender, leg = event.sender, leg_of(call, event.sender)
    if not is_participant(call, sender.identity):
        message = "you have no part in this call"
        return call, (Answer(Reply(ok=False, code=Code.NOT_PARTICIPANT, message=message)),)
    if call.phase is HubPhase.ENDED:
        return _over(call, event)
    if leg is None or _answered_by_sibling(call, leg):
        return call, refuse(call, sender, Code.NOT_THIS_DEVICE, "this call is on another device of yours")
    if leg.state is LegState.LEFT:
        return call, (answer(call, sender),)
    if call.phase is HubPhase.RINGING:
        return _while_ringing(call, leg, event)
    return _while_bound(call, event)


def _answered_by_sibling(call: HubCall, leg: Leg) -> bool:
    callee = call.callee
    is_sibling = callee is not None and callee.party.identity == leg.party.identity
    return leg.state is LegState.LEFT and is_sibling


def _over(call: HubCall, event: Requested) -> Step:
    """Nothing happens twice; only the last figures of a participant are still taken."""
    if isinstance(event.request, CallMetrics):
        return call, (*relay.measure(call, event, event.request), answer(call, event.sender))
    return call, (answer(call, event.sender),)


def _while_ringing(call: HubCall, leg: Leg, event: Requested) -> Step:
    is_caller = leg is call.caller
    match event.request:
        case AcceptCall():
            if is_caller:
                return call, refuse(call, event.sender, Code.NOT_ALLOWED, "only the called side can accept")
            return _accept(call, leg, event.now_s)
        case CancelCall():
            return _cancel(call, event.now_s, None) if is_caller else _reject(call, leg, event, None)
        case RejectCall() | EndCall():
            leave_reason = event.request.reason
            if is_caller:
                return _cancel(call, event.now_s, leave_reason)
            return _reject(call, leg, event, leave_reason)
        case RejoinCall():
            return call, (answer(call, event.sender),)
        case (
            WebrtcOffer() | WebrtcAnswer() | WebrtcIceCandidate() | WebrtcRestart() | CallMetrics() | ProlongCall()
        ):  # fmt: skip
            return call, refuse(call, event.sender, Code.WRONG_PHASE, "nobody has accepted this call yet")
        case _:
            assert_never(event.request)


def _while_bound(call: HubCall, event: Requested) -> Step:
    match event.request:
        case AcceptCall():
            if event.sender == call.caller.endpoint:
                return call, refuse(call, event.sender, Code.NOT_ALLOWED, "only the called side can accept")
            return call, (answer(call, event.sender),)
        case CancelCall():
            return _end(call, event, None)
        case RejectCall() | EndCall():
            return _end(call, event, event.request.reason)
        case RejoinCall():
            return call, (answer(call, event.sender),)
        case WebrtcOffer():
            return relay.offer(call, event, event.request)
        case WebrtcAnswer():
            return relay.take_answer(call, event, event.request)
        case WebrtcIceCandidate():
            return relay.candidate(call, event, event.request)
        case WebrtcRestart():
            return relay.restart(call, event, event.request)
        case CallMetrics():
            return relay.metrics(call, event, event.request)
        case ProlongCall():
            return talk.prolong(call, event)
        case _:
            assert_never(event.request)


def _accept(call: HubCall, leg: Leg, now_s: float) -> Step:
    """The first accept wins: it binds this device, and everybody else stops ringing."""
    losers = tuple(other for other in call.ringing if other is not leg)
    bound = replace(leg, state=LegState.BOUND)
    callees = tuple(
        bound if other is leg
        else left(other, now_s, EndReason.ANSWERED_ELSEWHERE) if other.state is LegState.RINGING
        else other
        for other in call.callees
    )  # fmt: skip
    until_s = now_s + call.limits.setup_s
    answered = replace(call, callees=callees, rounds=(), epoch=1, answered_at=now_s, until_s=until_s)
    told, accepted = tell(armed(answered), (call.caller,), lambda now, _: call_accepted(now, bound))
    after, cancelled = tell(told, losers, lambda now, _: call_cancelled(now, EndReason.ANSWERED_ELSEWHERE))
    return changed(after, (*accepted, *cancelled), answer(after, leg.endpoint))


def _cancel(call: HubCall, now_s: float, reason: str | None) -> Step:
    """The caller hangs up before anybody answers. Those that ring hear `cancelled`, whatever the caller's
    trouble."""
    ended = closed(call, now_s, _reported(reason, EndReason.CANCELLED), call.caller)
    after, tells = tell(ended, call.ringing, lambda now, _: call_cancelled(now, EndReason.CANCELLED))
    return changed(after, tells, answer(after, call.caller.endpoint))


def _reject(call: HubCall, leg: Leg, event: Requested, reason: str | None) -> Step:
    """A person says no, for all their devices; other members of a group go on ringing, or ring now; the last no
    ends the call."""
    now_s, identity, why = event.now_s, leg.party.identity, _reported(reason, EndReason.REJECTED)
    siblings = tuple(other for other in call.ringing if other.party.identity == identity and other is not leg)
    callees = tuple(
        left(other, now_s, why) if other.party.identity == identity and other.state is LegState.RINGING else other
        for other in call.callees
    )
    rejected = replace(call, callees=callees)
    rejected, cancelled = tell(rejected, siblings, lambda now, _: call_cancelled(now, EndReason.ANSWERED_ELSEWHERE))
    if rejected.ringing or rejected.awaited:
        return changed(rejected, cancelled, answer(rejected, leg.endpoint))
    onward = hunting.hunt_on(rejected, now_s, event.free)
    if onward is not None:
        return changed(onward[0], (*cancelled, *onward[1]), answer(onward[0], leg.endpoint))
    ended = closed(rejected, now_s, why, leg)
    after, tells = tell(
        ended, (call.caller,), lambda now, _: CallRejected(now.call_id, now.seq, identity, reason)
    )  # fmt: skip
    return changed(after, (*cancelled, *tells), answer(after, leg.endpoint))


def _end(call: HubCall, event: Requested, reason: str | None) -> Step:
    """One of the two hangs up."""
    leg = leg_of(call, event.sender)
    ended = closed(call, event.now_s, _reported(reason, EndReason.COMPLETED), leg)
    after, tells = tell(ended, peers_of(call, event.sender), call_ended)
    return changed(after, tells, answer(after, event.sender))


def _reported(reason: str | None, otherwise: EndReason) -> EndReason:
    return EndReason(reason) if reason in REPORTABLE else otherwise
