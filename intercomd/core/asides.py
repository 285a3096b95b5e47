"""What a person asks for beside the call itself: the other side's door, and more time."""

from intercomd.core.effects import Effect, Jingle, Play, Report, Send
from intercomd.core.protocol import OpenDoor, ProlongCall, Reply
from intercomd.core.station import ANSWERED, Call, Phase, Station, Step
from intercomd.errors import ErrorCode
from intercomd.ids import CallId, IdentityId


def open_door(station: Station) -> Step:
    """Asked for at once or not at all: nothing that moves a door waits for a link. While it rings the hub is asked
    without the call, which nobody has answered."""
    call = station.call
    if call is None or call.phase not in (*ANSWERED, Phase.RINGING_IN):
        return station, ()
    request = OpenDoor(call.peer_id, call.call_id if call.phase in ANSWERED else None)
    if not station.registered:
        return station, _refused(request, "there is no link to the hub")
    return station, (Send(request),)


def door_answered(station: Station, request: OpenDoor, reply: Reply) -> Step:
    if not reply.ok:
        return station, _refused(request, reply.code.value if reply.code else "the hub gave no reason")
    call_id = CallId(request.call_id) if request.call_id else None
    report = Report(
        ErrorCode.DOOR_OPENED, call_id, IdentityId(request.station_id), reason="asked for by the button here"
    )
    return station, (Play(Jingle.DOOR_OPENED), report)


def door_unanswered(station: Station, request: OpenDoor) -> Step:
    """It may have opened; it is not asked again, for that would open it later than anybody thinks."""
    return station, _refused(request, "the hub has not answered: the door may have opened")


def prolong(station: Station, call: Call) -> Step:
    """The hub tells both sides when that has given them more time."""
    if not station.registered or call.phase is Phase.CONNECTING:
        return station, ()
    return station, (Send(ProlongCall(call.call_id)),)


def limit_told(station: Station, prolonged: bool) -> Step:
    return station, (Play(Jingle.PROLONGED if prolonged else Jingle.TALK_LIMIT),)


def _refused(request: OpenDoor, reason: str) -> tuple[Effect, ...]:
    call_id = CallId(request.call_id) if request.call_id else None
    return Play(Jingle.REFUSED), Report(ErrorCode.DOOR_REFUSED, call_id, IdentityId(request.station_id), reason=reason)
