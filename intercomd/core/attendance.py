"""Who is there, and for how long the hub waits: devices vanish and return, leases expire, the hub itself
restarts."""

from msgspec.structs import replace

from intercomd.core import hunting, talk
from intercomd.core.admission import may_ring
from intercomd.core.legs import Endpoint, HubCall, Leg, LegState, peers_of
from intercomd.core.notices import call_ended, call_initiated, call_queued, call_state, incoming_call, talk_limit
from intercomd.core.protocol import Notice
from intercomd.core.switchboard import (
    SEQ_LEAP,
    LeaseExpired,
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
from intercomd.core.vocabulary import EndReason, HubPhase

RETURN_S = 30.0
"""In which every client finds a restarted hub again: a delay of 5 s at most, and an attempt of 20 s."""


def vanished(call: HubCall, event: Vanished) -> Step:
    """Nothing ends yet: the grace begins, and the other side hears that it waits."""
    leg = _open_leg(call, event.endpoint)
    if leg is None or not leg.present:
        return call, ()
    return _presence(call, replace(leg, absent_since_s=event.now_s))


def returned(call: HubCall, event: Returned) -> Step:
    """A device resynced. What rings there, or should be heard there, is told again (the first notice may be
    lost), and a call for its identity that began to ring before it came online rings there too."""
    party = event.party
    leg = _open_leg(call, party.endpoint)
    if leg is None:
        if call.phase is HubPhase.RINGING and not event.engaged and may_ring(call, party):
            return _ring_also(call, Leg(party, rung_at=event.now_s), event.now_s)
        return call, ()
    present = replace(leg, party=party, absent_since_s=None)
    after, effects = (call, ()) if leg.present else _presence(_rearmed(call, event.now_s), present)
    if not _has_reminder(after, present):
        return after, effects
    told, again = tell(after, (present,), lambda now, to: _reminder(now, to, event.now_s))
    reminded, more = relayed(after, told, again)
    return reminded, (*effects, *more)


def _has_reminder(call: HubCall, leg: Leg) -> bool:
    if call.phase is HubPhase.RINGING:
        return leg.state is LegState.RINGING or call.position is not None or bool(call.rounds)
    return call.warned


def _reminder(call: HubCall, leg: Leg, now_s: float) -> Notice:
    """What rings here; else the caller's place, or how long the rounds to come may still take; else the end of the
    talk."""
    if leg.state is LegState.RINGING:
        return incoming_call(call, now_s)
    if call.phase is not HubPhase.RINGING:
        return talk_limit(call, now_s)
    return call_initiated(call, now_s) if call.position is None else call_queued(call, now_s)


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


def lease_expired(call: HubCall, event: LeaseExpired) -> Step:
    """The hub decides for itself, with one reason for both sides."""
    now_s = event.now_s
    if call.lease_s is None or now_s < call.lease_s:
        return call, ()
    if call.phase is HubPhase.RINGING:
        if call.lease_s == call.until_s:
            return hunting.unanswered(call, now_s, event.free)
        return hunting.given_up(call, now_s, EndReason.CALLER_GONE)
    is_there = all(leg.present for leg in call.open_legs)
    if is_there and call.settled_epoch == call.epoch:
        return talk.expired(call, now_s)
    reason = EndReason.MEDIA_FAILED if is_there else EndReason.PEER_LOST
    after, tells = tell(closed(call, now_s, reason, None), call.open_legs, call_ended)
    return changed(after, tells)


def restored(call: HubCall, now_s: float) -> Step:
    """Everybody is away until they resync. The clock may have been set meanwhile, either way: that must
    neither prolong the ringing nor end a talk. Nor is the hub's own absence held against anybody: who tries
    again every few seconds has time to."""
    if call.phase is HubPhase.ENDED:
        return call, ()
    if call.phase is HubPhase.RINGING:
        until_s = min(call.until_s, now_s + _longest_s(call))
    else:
        until_s = talk.restored_until_s(call, now_s)
        call = replace(call, talk_until_s=until_s if call.settled_epoch else 0.0, warned=False)
    gone_s = now_s + max(0.0, RETURN_S - call.limits.grace_s)
    away = replace(
        call,
        seq=call.seq + SEQ_LEAP,
        until_s=until_s,
        caller=replace(call.caller, absent_since_s=gone_s),
        callees=tuple(
            leg if leg.state is LegState.LEFT else replace(leg, absent_since_s=gone_s) for leg in call.callees
        ),
    )
    return changed(armed(away), ())


def _longest_s(call: HubCall) -> float:
    if call.position is not None:
        return call.limits.queue_s
    return call.limits.ring_s if call.turn is None else call.turn.ring_s
