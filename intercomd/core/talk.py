"""How long a talk may last, where the hub's operator limits it: warned of before its end, prolonged by either.

The limit counts from the moment at which the voice could first be heard, through restarts of the media. Nobody
is cut off unwarned: when the warning comes late (somebody was away, the hub restarted), the end does, too."""

from msgspec.structs import replace

from intercomd.core.legs import HubCall
from intercomd.core.notices import call_ended, talk_limit
from intercomd.core.switchboard import Requested, Step, answer, armed, changed, closed, tell
from intercomd.core.vocabulary import EndReason

SAME_S = 1.0
"""Two presses at once, or one told twice, are one wish."""


def settled(call: HubCall, now_s: float) -> HubCall:
    """The epoch's answer has been relayed: from now only the talk limit and absence end the call."""
    if call.settled_epoch == call.epoch:
        return call
    runs = bool(call.limits.warning_s and call.settled_epoch)
    until_s = call.talk_until_s if runs else now_s + call.limits.talk_s
    return armed(replace(call, settled_epoch=call.epoch, until_s=until_s, talk_until_s=until_s))


def expired(call: HubCall, now_s: float) -> Step:
    """The lease of a talk has passed while both are there: the warning first, then the end."""
    if not call.limits.warning_s:
        return _over(call, now_s, EndReason.COMPLETED)
    if call.warned:
        return _over(call, now_s, EndReason.TALK_LIMIT)
    until_s = max(call.talk_until_s, now_s + call.limits.warning_s)
    warned = armed(replace(call, warned=True, until_s=until_s, talk_until_s=until_s))
    after, tells = tell(warned, warned.open_legs, lambda now, _: talk_limit(now, now_s))
    return changed(after, tells)


def prolong(call: HubCall, event: Requested) -> Step:
    """One talk limit from now, at whatever moment it is asked for."""
    until_s = event.now_s + call.limits.talk_s
    is_limited = bool(call.limits.warning_s and call.settled_epoch)
    if not is_limited or (until_s - call.talk_until_s < SAME_S and not call.warned):
        return call, (answer(call, event.sender),)
    is_talk = call.settled_epoch == call.epoch
    prolonged = replace(call, warned=False, talk_until_s=until_s, until_s=until_s if is_talk else call.until_s)
    heard = call.open_legs if call.warned else ()
    after, tells = tell(armed(prolonged), heard, lambda now, _: talk_limit(now, event.now_s))
    return changed(after, tells, answer(after, event.sender))


def restored_until_s(call: HubCall, now_s: float) -> float:
    """The end of a talk after the hub's restart. Its clock may have been set meanwhile: a talk with a limit is
    not longer for it, and ends with a warning at the earliest; one without is not ended by it."""
    longest_s = now_s + call.limits.talk_s
    return min(call.talk_until_s or longest_s, longest_s) if call.limits.warning_s else longest_s


def _over(call: HubCall, now_s: float, reason: EndReason) -> Step:
    after, tells = tell(closed(call, now_s, reason, None), call.open_legs, call_ended)
    return changed(after, tells)
