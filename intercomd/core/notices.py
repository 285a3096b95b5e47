"""The hub's notices about a call, each from the call's state alone. `seq` is the state's: the moves count it
up."""

from intercomd.core.legs import HubCall, Leg, view
from intercomd.core.protocol import (
    CallAccepted,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallInitiated,
    CallStateChanged,
    EndReason,
    IncomingCall,
    Notice,
)


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


def call_initiated(call: HubCall, _: Leg) -> Notice:
    return CallInitiated(call.call_id, call.seq)


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
    EndReason.OFFLINE: "the called side is not connected",
    EndReason.NOT_ALLOWED: "this call is not allowed, or nobody has this name",
    EndReason.TIMEOUT: "nobody answered in time",
    EndReason.CALLER_GONE: "the caller was away for too long",
}
