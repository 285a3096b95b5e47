"""Who may have a door opened, as the hub decides it: by a right that always counts, or by one that counts in a call."""

from intercomd.core.legs import Endpoint, HubCall, LegState, leg_of, peers_of
from intercomd.ids import IdentityId


def talks_with(call: HubCall | None, who: Endpoint, station: IdentityId) -> bool:
    """Whether this device is in an open, answered call whose other side is `station`. That the legs tell: nobody has
    an open one after the end, and no callee's is bound before the answer."""
    mine = leg_of(call, who) if call is not None else None
    if call is None or mine is None or mine.state is not LegState.BOUND:
        return False
    return any(peer.party.identity == station and peer.state is LegState.BOUND for peer in peers_of(call, who))


def permitted(*, always: bool, in_call: bool, talking: bool) -> bool:
    """`always` and `in_call` are the rights of who asks. A right for calls ends with the call."""
    return always or (in_call and talking)
