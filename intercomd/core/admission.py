"""The facts outside a call that decide whether it may begin, gathered purely.

The hub's shell calls these inside the transaction that then runs `core/switch.py`; an explorer calls them on
a plain dict of calls and a set of who is online. Groups are resolved by the caller: `members` are identities.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intercomd.core.legs import MAX_LEGS, Endpoint, HubCall, Leg, LegState, Party
from intercomd.core.protocol import HubPhase
from intercomd.ids import IdentityId

Online = Mapping[IdentityId, Iterable[Party]]
"""Who has a connection, by identity: its instances."""


@dataclass(frozen=True, slots=True)
class Admission:
    """`free` is where it can ring now; `busy` says that somebody of the members is in another call (connected
    or not); `engaged` is the open call that the caller's own device already has a part in."""

    members: tuple[IdentityId, ...] = ()
    free: tuple[Party, ...] = ()
    busy: bool = False
    allowed: bool = True
    engaged: HubCall | None = None
    recipient_name: str = ""


def open_legs(calls: Iterable[HubCall]) -> dict[Endpoint, HubCall]:
    """Which device has a part in which open call. A device has at most one: that is the switch's
    invariant."""
    return {leg.endpoint: call for call in calls for leg in call.open_legs}


def admit(
    legs: Mapping[Endpoint, HubCall],
    online: Online,
    caller: Endpoint,
    members: Iterable[IdentityId],
    *,
    allowed: bool = True,
    recipient_name: str = "",
) -> Admission:
    """Gather the facts for an `Initiated` event. The caller itself is never rung, on none of its devices."""
    rung = tuple(dict.fromkeys(member for member in members if member != caller.identity))
    free = tuple(
        party for member in rung for party in online.get(member, ()) if party.endpoint not in legs
    )[:MAX_LEGS]  # fmt: skip
    busy = any(endpoint.identity in rung for endpoint in legs)
    return Admission(rung, free, busy, allowed and bool(rung), legs.get(caller), recipient_name)


def concerned(calls: Iterable[HubCall], endpoint: Endpoint) -> tuple[HubCall, ...]:
    """The open calls that must hear `Returned` when this device comes online: those in which it has an open
    leg, and those that ring at its identity."""
    return tuple(call for call in calls if _has_open_leg(call, endpoint) or _rings_at(call, endpoint.identity))


def _has_open_leg(call: HubCall, endpoint: Endpoint) -> bool:
    return any(leg.endpoint == endpoint for leg in call.open_legs)


def _rings_at(call: HubCall, identity: IdentityId) -> bool:
    return call.phase is HubPhase.RINGING and identity in call.members


def may_ring(call: HubCall, party: Party) -> bool:
    """Whether a ringing call also rings at this device, which has just come online."""
    if party.identity not in call.members or len(call.callees) >= MAX_LEGS:
        return False
    mine: tuple[Leg, ...] = tuple(leg for leg in call.callees if leg.party.identity == party.identity)
    return all(leg.state is LegState.RINGING and leg.endpoint != party.endpoint for leg in mine)
