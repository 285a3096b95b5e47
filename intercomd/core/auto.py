"""Calls that a station answers without a person: only for callers on its own list, announced by a tone before the
microphone opens, and ended by its own timer unless a person takes over. The hub's word counts for who calls, and for
nothing else."""

from msgspec.structs import replace

from intercomd.core import closing
from intercomd.core.effects import CancelTimer, Effect, Persist, Report, StartTimer
from intercomd.core.events import Timer
from intercomd.core.station import Call, Station, Step, snapshot_of, with_call
from intercomd.core.vocabulary import EndReason
from intercomd.errors import ErrorCode
from intercomd.ids import IdentityId


def is_listed(station: Station, caller: IdentityId) -> bool:
    return caller in station.settings.auto_answer


def announced(station: Station, call: Call) -> tuple[Effect, ...]:
    """It rings, and is answered after a while."""
    return (StartTimer(Timer("auto", call.call_id), station.settings.auto_answer_after_s),) if call.auto else ()


def limited(station: Station, call: Call, now_s: float) -> tuple[Effect, ...]:
    """The rest of its time; of a restored call, what the time before has left."""
    if not call.auto:
        return ()
    limit_s = station.settings.auto_limit_s
    elapsed_s = now_s - call.answered_at if call.answered_at is not None else 0.0
    return (StartTimer(Timer("auto", call.call_id), max(0.0, limit_s - max(0.0, elapsed_s))),)


def taken_over(station: Station, call: Call) -> tuple[Station, Call]:
    """A person answers what would have been answered without."""
    taken = replace(call, auto=False)
    return with_call(station, taken), taken


def kept_by_hand(station: Station, call: Call) -> Step:
    """A person presses in such a call: from now on it is one like any other."""
    after, _ = taken_over(station, call)
    return after, (CancelTimer("auto"), Persist(snapshot_of(after)))


def over(station: Station, call: Call, now_s: float) -> Step:
    after, effects = closing.end(station, call, EndReason.COMPLETED, now_s)
    return after, (*effects, Report(ErrorCode.CALL_AUTO_ENDED, call.call_id, call.peer_id))
