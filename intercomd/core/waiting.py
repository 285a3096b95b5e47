"""The queues at an estate: who waits for whom, in which place, and what the news around them means to each.

A queue belongs to the name that was called. Who came first is rung first, across all queues for one device; a
caller that is away keeps its place and holds up nobody."""

from collections import Counter
from collections.abc import Iterable, Mapping

from intercomd.core.admission import Online, Silence, free_parties, nobody
from intercomd.core.legs import Endpoint, HubCall
from intercomd.core.switchboard import Reviewed
from intercomd.core.vocabulary import HubPhase
from intercomd.ids import IdentityId


def is_waiting(call: HubCall) -> bool:
    return call.phase is HubPhase.RINGING and call.position is not None


def queue(calls: Iterable[HubCall]) -> tuple[HubCall, ...]:
    """Those of the calls that wait, the first comer first."""
    waiting = (call for call in calls if is_waiting(call))
    return tuple(sorted(waiting, key=lambda call: (call.queued_at or 0.0, call.call_id)))


def place(waiting: Iterable[HubCall], recipient: IdentityId, length: int) -> int | None:
    """The place that a further caller of this name would get; None if the queue is full."""
    position = 1 + sum(call.recipient_id == recipient for call in waiting)
    return position if position <= length else None


def review(
    waiting: Iterable[HubCall],
    legs: Mapping[Endpoint, HubCall],
    online: Online,
    now_s: float,
    silence: Silence = nobody,
) -> tuple[HubCall, Reviewed] | None:
    """The first of the waiting calls (`queue`) to which the news matters, with its event; None if there is none.
    What follows from one changes the facts for the next: ask again after each."""
    places: Counter[IdentityId] = Counter()
    for call in waiting:
        places[call.recipient_id] += 1
        event = _news(call, places[call.recipient_id], legs, online, now_s, silence)
        if event is not None:
            return call, event
    return None


def _news(
    call: HubCall,
    position: int,
    legs: Mapping[Endpoint, HubCall],
    online: Online,
    now_s: float,
    silence: Silence,
) -> Reviewed | None:
    quiet = silence(call.recipient_id) or all(silence(member) for member in call.members)
    free = () if quiet or not call.caller.present else free_parties(legs, online, call.pending, silence)
    if free or quiet or position != call.position:
        return Reviewed(now_s, position, free, quiet)
    return None
