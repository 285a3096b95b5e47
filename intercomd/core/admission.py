"""The facts outside a call that decide whether it may begin and whom it may ring next, gathered purely.

The hub's shell calls these inside the transaction that then runs `core/switch.py`; an explorer calls them on
a plain dict of calls and a set of who is online. Groups are resolved by the caller: `members` are identities.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from intercomd.core.legs import MAX_LEGS, Endpoint, HubCall, Leg, LegState, Party, Round
from intercomd.ids import IdentityId

Online = Mapping[IdentityId, Iterable[Party]]
"""Who has a connection, by identity: its instances."""

Silence = Callable[[IdentityId], bool]
"""Whether an identity is not to be disturbed now."""


def nobody(_: IdentityId) -> bool:
    """Everybody may be rung."""
    return False


@dataclass(frozen=True, slots=True)
class Admission:
    """`free` is where it can ring, in whichever round; `busy` says that somebody of the members is in another
    call (connected or not); `engaged` is the open call that the caller's own device already has a part in.
    `rounds`: who is rung one after another, all at once where there are none. `quiet`: somebody is not to be
    disturbed. `position`: the place in the queue that the caller would get, None where it cannot wait.
    `wakeable`: whose phone can be woken to ring, though it may have no connection."""

    members: tuple[IdentityId, ...] = ()
    free: tuple[Party, ...] = ()
    busy: bool = False
    allowed: bool = True
    engaged: HubCall | None = None
    recipient_name: str = ""
    rounds: tuple[Round, ...] = ()
    quiet: bool = False
    position: int | None = None
    wakeable: tuple[IdentityId, ...] = ()


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
    rounds: Iterable[Round] = (),
    silence: Silence = nobody,
    position: int | None = None,
    reachable: Silence = nobody,
) -> Admission:
    """Gather the facts for an `Initiated` event. The caller itself is never rung, on none of its devices;
    nobody is rung twice, in the first of the rounds that name them. `members` are those of all rounds.
    `reachable`: whether a phone of theirs can be woken; who is in a call is not."""
    rung = tuple(dict.fromkeys(member for member in members if member != caller.identity))
    loud = tuple(member for member in rung if not silence(member))
    talkers = frozenset(loud)
    engaged = {endpoint.identity for endpoint in legs if endpoint.identity in talkers}
    return Admission(
        rung,
        free_parties(legs, online, loud),
        bool(engaged),
        allowed and bool(rung),
        legs.get(caller),
        recipient_name,
        tuple(_once(rounds, frozenset(rung))),
        len(loud) < len(rung),
        position,
        tuple(member for member in loud if member not in engaged and reachable(member)),
    )


def free_parties(
    legs: Mapping[Endpoint, HubCall], online: Online, members: Iterable[IdentityId], silence: Silence = nobody
) -> tuple[Party, ...]:
    """Where these identities can be rung now, in their order."""
    return tuple(
        party
        for member in members
        if not silence(member)
        for party in online.get(member, ())
        if party.endpoint not in legs
    )[:MAX_LEGS]


def _once(rounds: Iterable[Round], members: frozenset[IdentityId]) -> Iterable[Round]:
    """The rounds, each member only in its first one."""
    left = set(members)
    for turn in rounds:
        here = tuple(member for member in dict.fromkeys(turn.members) if member in left)
        left.difference_update(here)
        if here:
            yield Round(here, turn.ring_s)


def concerned(calls: Iterable[HubCall], endpoint: Endpoint) -> tuple[HubCall, ...]:
    """The open calls that must hear `Returned` when this device comes online: those in which it has an open
    leg, and those that ring at its identity."""
    return tuple(call for call in calls if _has_open_leg(call, endpoint) or _rings_at(call, endpoint.identity))


def _has_open_leg(call: HubCall, endpoint: Endpoint) -> bool:
    return any(leg.endpoint == endpoint for leg in call.open_legs)


def _rings_at(call: HubCall, identity: IdentityId) -> bool:
    return identity in call.rings_at


def may_ring(call: HubCall, party: Party) -> bool:
    """Whether a ringing call also rings at this device, which has just come online."""
    if party.identity not in call.rings_at or len(call.callees) >= MAX_LEGS:
        return False
    mine: tuple[Leg, ...] = tuple(leg for leg in call.callees if leg.party.identity == party.identity)
    return all(leg.state is LegState.RINGING and leg.endpoint != party.endpoint for leg in mine)
