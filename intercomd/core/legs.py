"""A call as the hub owns it: a caller's leg, the legs that ring or are bound, and what each side may see of
it.

Theory. A call has one caller's leg, bound to the instance that dialled, and a leg for every instance at
which it rang. Accepting binds one of them; the others have left. Whom to ring is a list of rounds: who is
rung at once, and for how long until the next one. A caller in a queue has an open leg and nobody rings.
The phase follows from these facts and from two counters: `epoch`, the life of one peer connection, and
`settled_epoch`, the last one whose answer was relayed. No instance ever has an open leg in two calls at
once: that is what "busy" means. Every open call has a lease, the moment at which the hub decides for
itself. Times are seconds of the hub's clock, Unix epoch. Everything here is immutable and hashable, and
its JSON (msgspec) is what the hub stores.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from intercomd.core.vocabulary import CallState, EndReason, HubPhase
from intercomd.ids import CallId, IdentityId, InstanceId


class Endpoint(NamedTuple):
    """One device of one identity: what a leg is bound to."""

    identity: IdentityId
    instance: InstanceId


class Party(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint with the words that others are shown for it."""

    identity: IdentityId
    instance: InstanceId
    name: str = ""
    role: str = "station"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.identity, self.instance)


class LegState(StrEnum):
    RINGING = "ringing"
    BOUND = "bound"
    LEFT = "left"
    """Rejected, or answered elsewhere: the call goes on without it."""


class Leg(msgspec.Struct, frozen=True, omit_defaults=True):
    """`absent_since_s` is None while the hub has a connection to it."""

    party: Party
    state: LegState = LegState.RINGING
    absent_since_s: float | None = None
    rung_at: float | None = None
    left_at: float | None = None
    left_reason: EndReason | None = None

    @property
    def endpoint(self) -> Endpoint:
        return self.party.endpoint

    @property
    def present(self) -> bool:
        return self.absent_since_s is None


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """The leases and rates that a call was admitted with. With `warning_s` the talk limit is one that people
    know: both are warned so long before it, and may prolong. Without it, `talk_s` only keeps a forgotten call
    from lasting for ever. In a queue at most `queue_length` callers wait, each for `queue_s`."""

    ring_s: float = 60.0
    setup_s: float = 30.0
    grace_s: float = 120.0
    talk_s: float = 4 * 3600.0
    restart_interval_s: float = 1.0
    restarts_per_minute: int = 10
    warning_s: float = 0.0
    queue_s: float = 300.0
    queue_length: int = 10


class Round(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is rung at once, and for how long."""

    members: tuple[IdentityId, ...]
    ring_s: float


STANDARD = Limits()

MAX_LEGS = 128
"""Instances that come online while it rings are rung too, up to this many."""


class HubCall(msgspec.Struct, frozen=True, omit_defaults=True, cache_hash=True):
    """`until_s` is the present phase's own deadline (this round's ringing, the queue, set-up, talk); `lease_s`
    is the moment the hub acts, which is earlier or later than that while somebody is absent, and earlier when
    there is something to warn of. `lease_s` is None exactly when the call has ended.

    `members` are all whom the call may ring, now or later; `turn` is the round that rings (None, in calls of
    a former version: all of them), `rounds` those still to come. `position` is the caller's place in the
    queue, None when it does not wait; `talk_until_s` the end of the talk, kept while an epoch is set up.
    `wakeable` are the members whose phone can be woken, whether a device of theirs is connected or not."""

    call_id: CallId
    caller: Leg
    recipient_id: IdentityId
    created_at: float
    limits: Limits = STANDARD
    recipient_name: str = ""
    conversation_id: str | None = None
    members: tuple[IdentityId, ...] = ()
    callees: tuple[Leg, ...] = ()
    phase: HubPhase = HubPhase.RINGING
    epoch: int = 0
    settled_epoch: int = 0
    seq: int = 0
    until_s: float = 0.0
    lease_s: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    end_reason: EndReason | None = None
    ender_id: IdentityId | None = None
    restarts_s: tuple[float, ...] = ()
    turn: Round | None = None
    rounds: tuple[Round, ...] = ()
    position: int | None = None
    queued_at: float | None = None
    talk_until_s: float = 0.0
    warned: bool = False
    wakeable: tuple[IdentityId, ...] = ()

    @property
    def callee(self) -> Leg | None:
        """The leg that accepted."""
        return next((leg for leg in self.callees if leg.state is LegState.BOUND), None)

    @property
    def ringing(self) -> tuple[Leg, ...]:
        return tuple(leg for leg in self.callees if leg.state is LegState.RINGING)

    @property
    def rings_at(self) -> tuple[IdentityId, ...]:
        """The identities whose turn it is: devices of theirs that come online now are rung, too."""
        if self.phase is not HubPhase.RINGING or self.position is not None:
            return ()
        return self.members if self.turn is None else self.turn.members

    @property
    def woken(self) -> tuple[IdentityId, ...]:
        """Those of them whose phone is to ring: nobody speaks for them yet."""
        declined = {leg.party.identity for leg in self.callees if leg.state is LegState.LEFT}
        return tuple(member for member in self.rings_at if member in self.wakeable and member not in declined)

    @property
    def awaited(self) -> tuple[IdentityId, ...]:
        """Those of them of whom no device is there yet."""
        rung = {leg.party.identity for leg in self.callees}
        return tuple(member for member in self.woken if member not in rung)

    @property
    def pending(self) -> tuple[IdentityId, ...]:
        """The identities that it may ring next."""
        return tuple(member for later in self.rounds for member in later.members)

    @property
    def open_legs(self) -> tuple[Leg, ...]:
        """The legs that make their instances busy: none after the end."""
        if self.phase is HubPhase.ENDED:
            return ()
        return (self.caller, *(leg for leg in self.callees if leg.state is not LegState.LEFT))

    @property
    def duration_s(self) -> float:
        """Talking time, from the accept to the end; 0 for a call that nobody answered or that goes on."""
        if self.answered_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, self.ended_at - self.answered_at)


def leg_of(call: HubCall, endpoint: Endpoint) -> Leg | None:
    """The leg of exactly this device."""
    if call.caller.endpoint == endpoint:
        return call.caller
    return next((leg for leg in call.callees if leg.endpoint == endpoint), None)


def is_participant(call: HubCall, identity: IdentityId) -> bool:
    """Whether this identity dialled or was rung. A member of the group that was not rung sees nothing."""
    return call.caller.party.identity == identity or any(leg.party.identity == identity for leg in call.callees)


def peers_of(call: HubCall, endpoint: Endpoint) -> tuple[Leg, ...]:
    """The open legs at the other side of this endpoint's."""
    if call.caller.endpoint == endpoint:
        return call.open_legs[1:]
    return call.open_legs[:1]


def view(call: HubCall, endpoint: Endpoint) -> CallState | None:
    """The call as this device may see it, None for a stranger. For a device that the call has left, it is
    over: `answered_elsewhere` or `rejected`, and who answered stays hidden."""
    leg = leg_of(call, endpoint)
    if leg is None:
        return _view_of_other_device(call, endpoint)
    if leg.state is LegState.LEFT:
        return _closed_view(call, leg.left_at, leg.left_reason)
    return _open_view(call, any(peer.present for peer in peers_of(call, endpoint)))


def _view_of_other_device(call: HubCall, endpoint: Endpoint) -> CallState | None:
    if not is_participant(call, endpoint.identity):
        return None
    if call.phase is HubPhase.ENDED:
        return _closed_view(call, call.ended_at, call.end_reason)
    return _closed_view(call, None, EndReason.ANSWERED_ELSEWHERE)


def _open_view(call: HubCall, peer_present: bool) -> CallState:
    callee = call.callee
    return CallState(
        call_id=call.call_id,
        caller_id=call.caller.party.identity,
        recipient_id=call.recipient_id,
        phase=call.phase,
        epoch=call.epoch,
        seq=call.seq,
        created_at=call.created_at,
        callee_id=callee.party.identity if callee else None,
        caller_name=call.caller.party.name,
        callee_name=callee.party.name if callee else call.recipient_name,
        peer_present=peer_present or call.phase is HubPhase.ENDED or call.position is not None or bool(call.awaited),
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        end_reason=call.end_reason,
        lease=call.lease_s,
        queue_position=call.position if call.phase is not HubPhase.ENDED else None,
    )


def _closed_view(call: HubCall, ended_at: float | None, reason: EndReason | None) -> CallState:
    return CallState(
        call_id=call.call_id,
        caller_id=call.caller.party.identity,
        recipient_id=call.recipient_id,
        phase=HubPhase.ENDED,
        epoch=call.epoch,
        seq=call.seq,
        created_at=call.created_at,
        caller_name=call.caller.party.name,
        ended_at=ended_at,
        end_reason=reason,
    )
