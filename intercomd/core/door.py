"""What a station decides about a door command: that it is not too old, and that it is carried out once.

A station has no clock that could be compared with the hub's. What it has is the hub's own word, in each heartbeat and
resync: the shortest of the last few ways tells how the hub's time runs against the monotonic clock here. A command's
time to live counts, in that time, from the newest word before it; the hub says one just before the command. So two that
were held up together on the way are told from two that came at once: the older words stand against them.

Without any word of the hub nothing is carried out, and a hub whose time went back is believed anew from its next word.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from intercomd.core.protocol import Code, DoorCommand, DoorReply

Remote = Literal["always", "in_call", "never"]
"""When a station lets the hub open its door: by its own rule, whatever the hub's are."""

WORDS: Final = 8
"""Of the hub's time that are compared: 40 s of heartbeats. A hub's clock that was set back a little makes commands look
older than they are until then, never younger."""
REMEMBERED: Final = 64
"""Commands; the hub sends far fewer within a time to live."""


@dataclass(frozen=True, slots=True)
class HubTime:
    """The hub's time, as it was said on this connection: the newest word, and by how much each of the last ones was
    ahead of the monotonic clock when it was heard."""

    said_s: float | None = None
    leads_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class DoorState:
    remote: Remote = "always"
    has_opener: bool = True
    time: HubTime = HubTime()
    done: tuple[tuple[str, DoorReply], ...] = ()
    """What was tried, and what came of it."""


def hub_time_heard(state: DoorState, hub_s: float, at_s: float) -> DoorState:
    """The hub says that it is `hub_s`, heard at `at_s` (monotonic)."""
    time = state.time
    earlier = () if time.said_s is None or hub_s < time.said_s else time.leads_s
    return replace(state, time=HubTime(hub_s, (*earlier, hub_s - at_s)[-WORDS:]))


def connection_changed(state: DoorState) -> DoorState:
    """Perhaps another hub, certainly another way to it."""
    return replace(state, time=HubTime())


def age_s(time: HubTime, at_s: float) -> float | None:
    """How long ago, in the hub's time, its newest word was said; None before the first."""
    if time.said_s is None:
        return None
    return max(time.leads_s) + at_s - time.said_s


def judge(state: DoorState, command: DoorCommand, at_s: float, *, talking: bool) -> DoorReply | None:
    """The answer to a command that is not to be carried out (again); None: switch the opener on now. `talking`: this
    station is in an answered call."""
    before = dict(state.done).get(command.command_id)
    if before is not None:
        return before
    if not state.has_opener:
        return _refusal(Code.NO_DOOR, "this station has no door opener: [panel] outputs names none")
    if state.remote == "never":
        return _refusal(Code.NOT_ALLOWED, "this station's [panel] remote_door forbids it")
    if state.remote == "in_call" and not talking:
        return _refusal(Code.NOT_ALLOWED, "this station's [panel] remote_door forbids it outside a call")
    age = age_s(state.time, at_s)
    if age is None:
        return _refusal(Code.EXPIRED, "the hub has not told the time on this connection, so nobody knows how old it is")
    if age * 1000 > command.ttl_ms:
        return _refusal(Code.EXPIRED, f"it came {age:.1f} s after it was given, {command.ttl_ms / 1000:g} s at most")
    return None


def tried(state: DoorState, command: DoorCommand, reply: DoorReply) -> DoorState:
    """The command was carried out, with this outcome: the same one again gets the same answer and moves nothing."""
    return replace(state, done=(*state.done, (command.command_id, reply))[-REMEMBERED:])


def _refusal(code: Code, message: str) -> DoorReply:
    return DoorReply(ok=False, code=code, message=message)
