"""The hub's notices about a call, each from the call's state alone. `seq` is the state's: the moves count it
up."""

from intercomd.core.legs import HubCall, Leg, view
from intercomd.core.protocol import (
    CallAccepted,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallInitiated,
    CallQueued,
    CallStateChanged,
    IncomingCall,
    Notice,
    TalkLimit,
)
from intercomd.core.vocabulary import EndReason


def incoming_call(call: HubCall, now_s: float) -> Notice:
    caller = call.caller.party
    return IncomingCall(
        call_id=call.call_id,
        seq=call.seq,
        caller_id=caller.identity,
        caller_role=caller.role,
        caller_name=caller.name,
        conversation_id=call.conversation_id,
        ring_timeout=max(0.0, call.until_s - now_s),
    )


def call_initiated(call: HubCall, now_s: float) -> Notice:
    return CallInitiated(call.call_id, call.seq, _patience_s(call, now_s))


def call_queued(call: HubCall, now_s: float) -> Notice:
    return CallQueued(call.call_id, call.seq, call.position or 1, _patience_s(call, now_s))


def talk_limit(call: HubCall, now_s: float) -> Notice:
    """A warning, or that it needs none any more."""
    return TalkLimit(call.call_id, call.seq, max(0.0, call.talk_until_s - now_s), prolonged=not call.warned)


def _patience_s(call: HubCall, now_s: float) -> float:
    """How long it may take until the last one has been rung."""
    return max(0.0, call.until_s - now_s) + sum(later.ring_s for later in call.rounds)


def call_accepted(call: HubCall, accepter: Leg) -> Notice:
    party = accepter.party
    return CallAccepted(
        call_id=call.call_id,
        seq=call.seq,
        accepter_id=party.identity,
        accepter_role=party.role,
        accepter_name=party.name,
        epoch=call.epoch,
    )


def call_cancelled(call: HubCall, reason: EndReason) -> Notice:
    return CallCancelled(call_id=call.call_id, seq=call.seq, canceller_id=call.ender_id, reason=reason)


def call_ended(call: HubCall, _: Leg) -> Notice:
    reason = call.end_reason or EndReason.FAILED
    return CallEnded(
        call_id=call.call_id, seq=call.seq, ender_id=call.ender_id, duration=call.duration_s, reason=reason
    )  # fmt: skip


def call_failed(call: HubCall, _: Leg) -> Notice:
    reason = call.end_reason or EndReason.FAILED
    return CallFailed(call.call_id, call.seq, reason, _FAILED.get(reason, "the call failed"))


def call_state(call: HubCall, leg: Leg) -> Notice:
    state = view(call, leg.endpoint)
    assert state is not None, "a leg is a participant"
    return CallStateChanged(call.call_id, call.seq, state)


_FAILED = {
    EndReason.BUSY: "the called side is in another call",
    EndReason.DO_NOT_DISTURB: "the called side does not want to be disturbed now",
    EndReason.OFFLINE: "the called side is not connected",
    EndReason.NOT_ALLOWED: "this call is not allowed, or nobody has this name",
    EndReason.TIMEOUT: "nobody answered in time",
    EndReason.CALLER_GONE: "the caller was away for too long",
}
