"""Whom a call to a name rings, and who is not to be disturbed: the directory's words in the switch's terms.

Functions over snapshots: whoever owns the calls (one process in memory, several in one transaction) asks them
for the facts of each event."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from intercomd.config import Hub
from intercomd.core import waiting
from intercomd.core.admission import Admission, Online, Silence, admit, nobody
from intercomd.core.legs import STANDARD, Endpoint, HubCall, Limits, Round
from intercomd.hub.people.directory import Busy, Directory, RingMode
from intercomd.ids import IdentityId

WARNING_S = 30.0
"""Both sides of a limited talk are warned so long before its end."""
LOCAL_ZONE = Path("/etc/localtime")

OnlineOf = Callable[[tuple[IdentityId, ...]], Online]
"""The devices of these identities that have a connection."""


def limits_of(settings: Hub) -> Limits:
    """Without a talk limit the one that only keeps a forgotten call from lasting for ever."""
    talk_s = settings.talk_limit_s
    return Limits(
        ring_s=settings.ring_timeout_s,
        grace_s=settings.grace_s,
        talk_s=talk_s or STANDARD.talk_s,
        warning_s=min(WARNING_S, talk_s / 2),
        queue_s=settings.queue_timeout_s,
        queue_length=settings.queue_length,
    )


def zone_of(name: str) -> tzinfo:
    """The estate's time zone; the machine's own where none is named. Raises `ValueError` with what to do."""
    try:
        if name:
            return ZoneInfo(name)
        with LOCAL_ZONE.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        if not name:
            return ZoneInfo("UTC")
        raise ValueError(f"hub.time_zone {name!r}: no such zone here; write one like Europe/Vienna") from error


def silence(directory: Directory, now_s: float, zone: tzinfo) -> Silence:
    """Who is not to be disturbed at that moment."""
    at = datetime.fromtimestamp(now_s, zone)
    minute = at.hour * 60 + at.minute
    return lambda identity: directory.policy(identity).is_quiet(now_s, minute)


def rounds(directory: Directory, recipient: IdentityId, ring_s: float) -> tuple[Round, ...]:
    """Who is rung, one round after another: the group as it rings, then whom it escalates to, each name once."""
    found: list[Round] = []
    names: set[IdentityId] = set()
    name: IdentityId | None = recipient
    while name is not None and name not in names:
        names.add(name)
        group = directory.group(name)
        if group is None:
            found.append(Round(directory.resolve(name), ring_s))
        elif group.mode is RingMode.SEQUENCE:
            found += [Round((member,), group.each_s) for member in group.members]
        else:
            found.append(Round(group.members, ring_s))
        name = None if group is None else group.escalate_to
    return tuple(found)


def admission(
    directory: Directory,
    legs: Mapping[Endpoint, HubCall],
    online_of: OnlineOf,
    queued: Iterable[HubCall],
    caller: Endpoint,
    recipient: IdentityId,
    limits: Limits,
    silent: Silence,
    reachable: Silence = nobody,
) -> Admission:
    """The facts for an `Initiated` event. `queued`: the calls that wait for somebody.
    `reachable`: whose phone can be woken."""
    turns = rounds(directory, recipient, limits.ring_s)
    members = tuple(member for turn in turns for member in turn.members)
    may_wait = directory.policy(recipient).busy is Busy.QUEUE
    return admit(
        legs,
        online_of(members),
        caller,
        members,
        allowed=directory.may_call_whom(caller.identity, recipient),
        recipient_name=directory.identities[recipient].name if recipient in directory.identities else recipient,
        rounds=turns,
        silence=_everybody if silent(recipient) else silent,
        position=waiting.place(queued, recipient, limits.queue_length) if may_wait else None,
        reachable=reachable,
    )


def _everybody(_: IdentityId) -> bool:
    return True
