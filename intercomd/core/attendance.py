"""Who is there, and for how long the hub waits: devices vanish and return, leases expire, the hub itself
restarts."""

from msgspec.structs import replace

from intercomd.core.admission import may_ring
from intercomd.core.legs import Endpoint, HubCall, Leg, LegState, peers_of
from intercomd.core.notices import call_cancelled, call_ended, call_failed, call_state, incoming_call
from intercomd.core.protocol import EndReason, HubPhase
from intercomd.core.switchboard import (
    SEQ_LEAP,
    Returned,
    Step,
    SwitchEffect,
    Vanished,
    armed,
    changed,
    closed,
    relayed,
    tell,
    with_leg,
)


def vanished(call: HubCall, event: Vanished) -> Step:
    """Nothing ends yet: the grace begins, and the other side hears that it waits."""
    leg = _open_leg(call, event.endpoint)
    if leg is None or not leg.present:
        return call, ()
    return _presence(call, replace(leg, absent_since_s=event.now_s))


def returned(call: HubCall, event: Returned) -> Step:
    """A device resynced. What rings there is told again (the first notice may be lost), and a call for its
    identity that began to ring before it came online rings there too."""
    party = event.party
    leg = _open_leg(call, party.endpoint)
    if leg is None:
        if call.phase is HubPhase.RINGING and not event.engaged and may_ring(call, party):
            return _ring_also(call, Leg(party), event.now_s)
        return call, ()
    present = replace(leg, party=party, absent_since_s=None)
    after, effects = (call, ()) if leg.present else _presence(_rearmed(call, event.now_s), present)
    if leg.state is not LegState.RINGING:
        return after, effects
    told, again = tell(after, (present,), lambda now, _: incoming_call(now, event.now_s))
    ringing, more = relayed(after, told, again)
    return ringing, (*effects, *more)


def _ring_also(call: HubCall, leg: Leg, now_s: float) -> Step:
    before = call
    call = replace(call, callees=(*call.callees, leg))
    call, incoming = tell(call, (leg,), lambda now, _: incoming_call(now, now_s))
    call, tells = _tell_presence(before, call, (call.caller,))
    return changed(call, (*incoming, *tells))


def _rearmed(call: HubCall, now_s: float) -> HubCall:
    """Somebody is back: an epoch that is not settled gets its whole time again."""
    if call.callee is None or call.settled_epoch == call.epoch:
        return call
    return replace(call, until_s=now_s + call.limits.setup_s)


def _presence(call: HubCall, leg: Leg) -> Step:
    after = armed(with_leg(call, leg))
    after, tells = _tell_presence(call, after, peers_of(after, leg.endpoint))
    return changed(after, tells)


def _tell_presence(before: HubCall, after: HubCall, legs: tuple[Leg, ...]) -> tuple[HubCall, tuple[SwitchEffect, ...]]:
    """`call_state` to those for whom `peerPresent` has changed (the caller of a group hears when nobody is
    left)."""
    concerned = tuple(
        leg for leg in legs
        if _sees_peer(before, leg.endpoint) != _sees_peer(after, leg.endpoint)
    )  # fmt: skip
    return tell(after, concerned, call_state)


def _sees_peer(call: HubCall, endpoint: Endpoint) -> bool:
    return any(peer.present for peer in peers_of(call, endpoint))


def _open_leg(call: HubCall, endpoint: Endpoint) -> Leg | None:
    return next((leg for leg in call.open_legs if leg.endpoint == endpoint), None)


def lease_expired(call: HubCall, now_s: float) -> Step:
    """The hub decides for itself, with one reason for both sides."""
    if call.lease_s is None or now_s < call.lease_s:
        return call, ()
    if call.phase is HubPhase.RINGING:
        return _rung_out(call, now_s)
    if not all(leg.present for leg in call.open_legs):
        reason = EndReason.PEER_LOST
    elif call.settled_epoch == call.epoch:
        reason = EndReason.COMPLETED
    else:
        reason = EndReason.MEDIA_FAILED
    after, tells = tell(closed(call, now_s, reason, None), call.open_legs, call_ended)
    return changed(after, tells)


def _rung_out(call: HubCall, now_s: float) -> Step:
    reason = EndReason.TIMEOUT if call.lease_s == call.until_s else EndReason.CALLER_GONE
    ended = closed(call, now_s, reason, None)
    told, failed = tell(ended, (call.caller,), call_failed)
    after, cancelled = tell(told, call.ringing, lambda now, _: call_cancelled(now, reason))
    return changed(after, (*failed, *cancelled))


def restored(call: HubCall, now_s: float) -> Step:
    """Everybody is away until they resync. The clock may have been set meanwhile, either way: that must
    neither prolong the ringing nor end a talk."""
    if call.phase is HubPhase.ENDED:
        return call, ()
    if call.phase is HubPhase.RINGING:
        until_s = min(call.until_s, now_s + call.limits.ring_s)
    else:
        until_s = now_s + call.limits.talk_s
    away = replace(
        call,
        seq=call.seq + SEQ_LEAP,
        until_s=until_s,
        caller=replace(call.caller, absent_since_s=now_s),
        callees=tuple(
            leg if leg.state is LegState.LEFT else replace(leg, absent_since_s=now_s) for leg in call.callees
        ),
    )
    return changed(armed(away), ())
