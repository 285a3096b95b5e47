"""Whom a call rings, one round after another, and the queue in front of them.

A hunt group rings its members in rounds: all at once is one round, in sequence is a round for each, and whom
it escalates to is a further one. Who is busy, away or not to be disturbed when their round comes is passed
over at once; so a round that rings has somebody who can hear it. The caller hears one continuous ringing.

Where nobody of all rounds is free, but somebody only talks, the caller waits if the called identity lets it.
It has an open leg like any other: its device is in a call. It is told its place, and rings through as soon
as somebody is free; while its caller is away, those behind it are not kept waiting."""

from msgspec.structs import replace

from intercomd.core.admission import Admission
from intercomd.core.legs import MAX_LEGS, HubCall, Leg, LegState, Party, Round
from intercomd.core.notices import call_cancelled, call_failed, call_initiated, call_queued, incoming_call
from intercomd.core.switchboard import Reviewed, Step, Tell, Unreached, armed, changed, closed, left, tell
from intercomd.core.vocabulary import EndReason, HubPhase


def begin(call: HubCall, now_s: float, admission: Admission) -> Step:
    """A new call: it rings, waits, or is over at once."""
    if not admission.allowed:
        return failed(call, now_s, EndReason.NOT_ALLOWED)
    rounds = admission.rounds or (Round(admission.members, call.limits.ring_s),)
    call = replace(call, rounds=rounds, wakeable=admission.wakeable)
    ringing = next_round(call, now_s, admission.free)
    if ringing is not None:
        after, tells = announce(ringing, now_s)
        return changed(after, tells)
    if admission.busy and admission.position is not None:
        return _place(replace(call, queued_at=now_s, until_s=now_s + call.limits.queue_s), now_s, admission.position)
    if admission.busy:
        return failed(call, now_s, EndReason.BUSY)
    return failed(call, now_s, EndReason.DO_NOT_DISTURB if admission.quiet else EndReason.OFFLINE)


def next_round(call: HubCall, now_s: float, free: tuple[Party, ...]) -> HubCall | None:
    """The call as it rings in the first round to come in which somebody is free, or can be woken; None if
    there is no such round. Nobody has been told."""
    for index, turn in enumerate(call.rounds):
        members = frozenset(turn.members)
        legs = tuple(Leg(party, rung_at=now_s) for party in free if party.identity in members)
        legs = legs[: MAX_LEGS - len(call.callees)]
        if legs or not members.isdisjoint(call.wakeable):
            return armed(
                replace(
                    call,
                    callees=(*call.callees, *legs),
                    turn=turn,
                    rounds=call.rounds[index + 1 :],
                    until_s=now_s + turn.ring_s,
                    position=None,
                )
            )
    return None


def announce(call: HubCall, now_s: float) -> tuple[HubCall, tuple[Tell, ...]]:
    """Tell those who ring, and the caller that it rings."""
    call, incoming = tell(call, call.ringing, lambda now, _: incoming_call(now, now_s))
    call, initiated = tell(call, (call.caller,), lambda now, _: call_initiated(now, now_s))
    return call, (*incoming, *initiated)


def hunt_on(call: HubCall, now_s: float, free: tuple[Party, ...]) -> tuple[HubCall, tuple[Tell, ...]] | None:
    """Nobody rings any more: the next round does, and those of it are told. None if there is none."""
    ringing = next_round(call, now_s, free)
    if ringing is None:
        return None
    return tell(ringing, ringing.ringing, lambda now, _: incoming_call(now, now_s))


def unanswered(call: HubCall, now_s: float, free: tuple[Party, ...]) -> Step:
    """A round, or the time in the queue, is over."""
    if call.position is not None:
        return failed(call, now_s, EndReason.BUSY)
    callees = tuple(
        left(leg, now_s, EndReason.TIMEOUT) if leg.state is LegState.RINGING else leg for leg in call.callees
    )
    told, cancelled = tell(
        replace(call, callees=callees), call.ringing, lambda now, _: call_cancelled(now, EndReason.TIMEOUT)
    )  # fmt: skip
    onward = hunt_on(told, now_s, free)
    if onward is None:
        return given_up(call, now_s, EndReason.TIMEOUT)
    return changed(onward[0], (*cancelled, *onward[1]))


def given_up(call: HubCall, now_s: float, reason: EndReason) -> Step:
    """The hub ends the ringing."""
    ended = closed(call, now_s, reason, None)
    told, tells = tell(ended, (call.caller,), call_failed)
    after, cancelled = tell(told, call.ringing, lambda now, _: call_cancelled(now, reason))
    return changed(after, (*tells, *cancelled))


def failed(call: HubCall, now_s: float, reason: EndReason) -> Step:
    """It is over before anybody rang."""
    after, tells = tell(closed(call, now_s, reason, None), (call.caller,), call_failed)
    return changed(after, tells)


def reviewed(call: HubCall, event: Reviewed) -> Step:
    """What a waiting call makes of the news around it."""
    if call.phase is not HubPhase.RINGING or call.position is None:
        return call, ()
    ringing = next_round(call, event.now_s, event.free) if call.caller.present else None
    if ringing is not None:
        after, tells = announce(ringing, event.now_s)
        return changed(after, tells)
    if event.quiet:
        return failed(call, event.now_s, EndReason.DO_NOT_DISTURB)
    return (call, ()) if event.position == call.position else _place(call, event.now_s, event.position)


def unreached(call: HubCall, event: Unreached) -> Step:
    """Whom no push message reaches is not waited for."""
    if call.phase is not HubPhase.RINGING or not set(event.identities).intersection(call.wakeable):
        return call, ()
    left_over = tuple(member for member in call.wakeable if member not in event.identities)
    after = replace(call, wakeable=left_over)
    if after.position is not None or after.ringing or after.awaited:
        return changed(after, ())
    onward = hunt_on(after, event.now_s, event.free)
    if onward is not None:
        return changed(*onward)
    return given_up(after, event.now_s, EndReason.OFFLINE)


def _place(call: HubCall, now_s: float, position: int) -> Step:
    after, tells = tell(
        armed(replace(call, position=position)), (call.caller,), lambda now, _: call_queued(now, now_s)
    )  # fmt: skip
    return changed(after, tells)
