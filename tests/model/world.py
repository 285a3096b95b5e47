"""A whole household as one immutable value: stations, their flash and media, the hub, the wires between them.

The reducers are the shipped ones; what is modelled is what surrounds them, and what must hold after each step. What can
happen next is listed in `tests/model/moves.py`, how it comes to rest in `tests/model/settling.py`.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from intercomd.core import call as station_core
from intercomd.core import switch, waiting
from intercomd.core.admission import Admission, Online, admit, concerned, free_parties, open_legs
from intercomd.core.effects import (
    ApplyRemote,
    CancelTimer,
    CloseMicrophone,
    OpenMicrophone,
    Persist,
    PrepareMedia,
    Send,
    StartMedia,
    StartTimer,
    StopMedia,
)  # fmt: skip
from intercomd.core.events import (
    Booted,
    Card,
    LinkDown,
    LinkUp,
    Timer,
    Unanswered,
)  # fmt: skip
from intercomd.core.legs import Endpoint, HubCall, Limits, Party, Round, view
from intercomd.core.protocol import Heartbeat, InitiateCall, Notice, OpenDoor, Reply, Request, Resync
from intercomd.core.snapshot import Role, SavedPhase, Snapshot
from intercomd.core.station import ANSWERED, Phase, Station
from intercomd.core.switchboard import Answer, Initiated, Requested, Returned, Tell, Vanished
from intercomd.core.vocabulary import HubPhase
from intercomd.ids import CallId, IdentityId, InstanceId

LIMITS = Limits(queue_s=50.0, queue_length=2)


class Media(msgspec.Struct, frozen=True):
    epoch: int
    offerer: bool
    described: bool = False
    remote: bool = False
    up: bool = False

    @property
    def complete(self) -> bool:
        return self.described and self.remote


class Node(msgspec.Struct, frozen=True, cache_hash=True):
    """A station and everything of it that a power cut takes or leaves."""

    name: str
    station: Station
    flash: Snapshot = Snapshot()
    alive: bool = True
    link: bool = False
    up: tuple[Request, ...] = ()
    down: tuple[Any, ...] = ()
    """Notices and (request, reply) pairs on their way from the hub."""
    media: Media | None = None
    prepared: bool = False
    """Candidates were gathered ahead."""
    microphone: bool = False
    timers: tuple[tuple[float, Timer], ...] = ()
    presses: tuple[str, ...] = ()
    """What a person here may still do, in any order."""
    dialled: int = 0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(IdentityId(self.name), InstanceId(self.name))

    @property
    def party(self) -> Party:
        return Party(IdentityId(self.name), InstanceId(self.name), self.name)


class World(msgspec.Struct, frozen=True, cache_hash=True):
    nodes: tuple[Node, ...]
    calls: tuple[HubCall, ...] = ()
    """The hub's, open and over, in the order of their beginning."""
    registered: tuple[bool, ...] = ()
    """Which nodes the hub has resynced on their present connection."""
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """They ring all at once, but those in `sequences` one after another."""
    sequences: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    """Who lets callers wait."""
    quiet: tuple[str, ...] = ()
    """Who is not to be disturbed."""
    cuts: int = 0
    drops: int = 0
    fires: int = 0
    restarts: int = 0
    reroutes: int = 0
    tampered: bool = False
    """A timer fired early, or somebody hung up."""
    now_s: float = 0.0
    asked: int = 0
    """How often a door button was pressed."""
    opened: int = 0
    """How often the hub was asked for it: never more, whatever is lost on the way."""
    was_up: bool = False
    """Two stations were connected with each other and nobody has ended it: it must come back."""
    answered: bool = False
    """Somebody's answer is on flash, of two stations, and no timer was tampered with: it must become a call."""


class Broken(AssertionError):
    """A property does not hold."""


def timed_out(world: World, index: int, timer: Timer) -> World:
    """A timer of a station fires. The one of a call that nobody answered by hand ends it: no promise is broken."""
    node = world.nodes[index]
    call = node.station.call
    if timer.kind == "auto" and call is not None and call.phase in ANSWERED:
        world = replace(world, was_up=False, answered=False, tampered=True)
    return put(world, index, replace(node, timers=tuple(item for item in node.timers if item[1] != timer)))


def put(world: World, index: int, node: Node) -> World:
    nodes = (*world.nodes[:index], node, *world.nodes[index + 1 :])
    return replace(world, nodes=nodes)


def feed(world: World, index: int, event: Any, cut_at: int | None = None) -> World:
    """Let the station handle an event and carry out its effects; `cut_at` n: the power fails after n of them."""
    pending = [event]
    while pending:
        node = world.nodes[index]
        station, effects = station_core.handle(node.station, pending.pop(0), world.now_s)
        check_order(node, station, effects)
        node = replace(node, station=station)
        for count, effect in enumerate(effects):
            if count == cut_at:
                return cut(put(world, index, node), index)
            node, heard = carry_out(node, effect, world.now_s)
            pending += heard
        world = put(world, index, node)
        check_node(node)
        cut_at = None
    return promised(world, index)


def promised(world: World, index: int) -> World:
    saved = world.nodes[index].flash.call
    if world.answered or len(world.nodes) > 2 or world.tampered or saved is None:
        return world
    is_answer = saved.role is Role.CALLEE and saved.phase is SavedPhase.CONNECTED
    return replace(world, answered=True) if is_answer else world


def carry_out(node: Node, effect: Any, now_s: float) -> tuple[Node, list[Any]]:
    match effect:
        case Persist(snapshot):
            return replace(node, flash=snapshot), []
        case Send(request):
            check_written(node, request)
            if not node.link:
                return node, [Unanswered(request)]
            return replace(node, up=(*node.up, request)), []
        case StartMedia(_, epoch, offerer):
            return replace(node, media=Media(epoch, offerer), prepared=False), []
        case PrepareMedia():
            return replace(node, prepared=node.media is None), []
        case StopMedia():
            return replace(node, media=None, prepared=False), []
        case ApplyRemote(epoch) if node.media is not None and node.media.epoch == epoch:
            return replace(node, media=replace(node.media, remote=True)), []
        case OpenMicrophone():
            return replace(node, microphone=True), []
        case CloseMicrophone():
            return replace(node, microphone=False), []
        case StartTimer(timer, delay_s):
            others = tuple(item for item in node.timers if item[1].kind != timer.kind)
            return replace(node, timers=tuple(sorted((*others, (now_s + delay_s, timer)), key=str))), []
        case CancelTimer(kind):
            return replace(node, timers=tuple(item for item in node.timers if item[1].kind != kind)), []
        case _:
            return node, []


def check_order(node: Node, station: Station, effects: tuple[Any, ...]) -> None:
    """Write-ahead: in no effect list does a Send precede the Persist."""
    kinds = [type(effect) for effect in effects]
    if Persist in kinds and Send in kinds and kinds.index(Send) < len(kinds) - 1 - kinds[::-1].index(Persist):
        raise Broken(f"{node.name}: {effects} sends before it persists")
    if kinds.count(StartMedia) > 1:
        raise Broken(f"{node.name}: two media starts in one step")


def check_written(node: Node, request: Request) -> None:
    """What the hub is told is on flash before it leaves."""
    call_id = getattr(request, "call_id", None)
    buried = any(tombstone.call_id == call_id for tombstone in node.flash.tombstones)
    saved = node.flash.call is not None and node.flash.call.call_id == call_id
    match request.event:
        case "initiate_call" | "accept_call":
            if not saved:
                raise Broken(f"{node.name}: {request} leaves before the call is on flash")
        case "end_call" | "cancel_call" | "reject_call":
            if saved and not buried:
                raise Broken(f"{node.name}: {request} leaves before its tombstone is on flash")


def check_node(node: Node) -> None:
    """Safety at one station, after every event."""
    call = node.station.call
    if node.microphone and (call is None or call.phase not in ANSWERED or call.answered_at is None):
        raise Broken(f"{node.name}: the microphone is open while {call}")
    if node.media is not None and (call is None or call.phase not in ANSWERED):
        raise Broken(f"{node.name}: media runs while {call}")
    if node.prepared and (call is None or call.phase is Phase.ENDING):
        raise Broken(f"{node.name}: candidates are kept while {call}")
    if call is not None and call.phase in (Phase.RINGING_IN, Phase.RINGING_OUT) and not node.prepared:
        raise Broken(f"{node.name}: it rings and nothing is gathered ahead")
    if node.microphone != node.station.microphone:
        raise Broken(f"{node.name}: the microphone is not what was ordered")
    if call is not None and call.phase is Phase.CONNECTED and (node.media is None or node.media.epoch != call.epoch):
        raise Broken(f"{node.name}: connected without this epoch's media")
    unattended = call is not None and call.auto and call.phase in ANSWERED
    if unattended and not any(t.kind == "auto" for _, t in node.timers):
        raise Broken(f"{node.name}: nobody has answered, and nothing ends it: {call}")
    timed = {Phase.WAITING_CARD: "card", Phase.DIALLING: "dial", Phase.ENDING: "ending"}
    timed |= {Phase.RINGING_IN: "ring", Phase.RINGING_OUT: "ring"}
    if call is not None and call.phase in timed and not any(t.kind == timed[call.phase] for _, t in node.timers):
        raise Broken(f"{node.name}: {call.phase} without its limit")


def cut(world: World, index: int) -> World:
    """The power of a station fails: flash remains."""
    node = world.nodes[index]
    dark = Node(node.name, node.station, node.flash, alive=False, presses=node.presses, dialled=node.dialled)
    return replace(vanish(put(world, index, dark), index), cuts=world.cuts - 1)


def boot(world: World, index: int) -> World:
    node = world.nodes[index]
    fresh = replace(node, alive=True, station=Station(node.station.settings, card=Card.READY))
    return feed(put(world, index, fresh), index, Booted(node.flash))


def connect(world: World, index: int) -> World:
    return feed(put(world, index, replace(world.nodes[index], link=True)), index, LinkUp())


def drop(world: World, index: int) -> World:
    """The link breaks: what is on its way is lost, and nobody knows what arrived."""
    node = world.nodes[index]
    lost = [*(pair[0] for pair in node.down if isinstance(pair, tuple)), *node.up]
    world = vanish(put(world, index, replace(node, link=False, up=(), down=())), index)
    world = feed(world, index, LinkDown())
    for request in lost:
        world = feed(world, index, Unanswered(request))
    return world


# --------------------------------------------------------------------------------------------------------- the hub


def vanish(world: World, index: int) -> World:
    registered = (*world.registered[:index], False, *world.registered[index + 1 :])
    world = replace(world, registered=registered)
    for call in world.calls:
        world = switched(world, call, Vanished(world.now_s, world.nodes[index].endpoint))[0]
    return world


def switched(world: World, call: HubCall | None, event: Any) -> tuple[World, Reply | None]:
    """Run the hub's reducer and deliver its effects into the wires; then let the queues hear of it."""
    world, reply = _switched(world, call, event)
    while True:
        news = waiting.review(
            waiting.queue(world.calls), open_legs(world.calls), online(world), world.now_s, silence(world)
        )
        if news is None:
            return world, reply
        world, _ = _switched(world, *news)


def online(world: World) -> Online:
    there = zip(world.nodes, world.registered, strict=True)
    return {node.endpoint.identity: (node.party,) for node, registered in there if registered}


def silence(world: World) -> Callable[[IdentityId], bool]:
    return lambda identity: identity in world.quiet


def free_for(world: World, call: HubCall | None) -> tuple[Party, ...]:
    """Where this call could ring next."""
    pending = () if call is None else call.pending
    return free_parties(open_legs(world.calls), online(world), pending, silence(world)) if pending else ()


def _switched(world: World, call: HubCall | None, event: Any) -> tuple[World, Reply | None]:
    after, effects = switch.handle(call, event)
    if after is not None:
        known = {c.call_id for c in world.calls}
        calls = tuple(after if c.call_id == after.call_id else c for c in world.calls)
        world = replace(world, calls=calls if after.call_id in known else (*calls, after))
    reply = None
    for effect in effects:
        match effect:
            case Tell(to, notice):
                world = send_down(world, to, notice)
            case Answer(answer):
                reply = answer
    check_hub(world)
    return world, reply


def send_down(world: World, to: Endpoint, item: Notice) -> World:
    for index, node in enumerate(world.nodes):
        if node.endpoint == to and node.alive and node.link:
            return put(world, index, replace(node, down=(*node.down, item)))
    return world


def arrive(world: World, index: int) -> World:
    """The oldest request of a node reaches the hub."""
    node = world.nodes[index]
    request, party = node.up[0], node.party
    world = put(world, index, replace(node, up=node.up[1:]))
    match request:
        case Resync():
            world, reply = resynced(world, index, request)
        case Heartbeat():
            reply = Reply(ok=True)
        case OpenDoor():
            world, reply = replace(world, opened=world.opened + 1), Reply(ok=True)
            if world.opened > world.asked:
                raise Broken(f"{world.opened} openings of a door for {world.asked} presses")
        case InitiateCall(call_id, recipient_id):
            facts = admission(world, node, IdentityId(recipient_id))
            event = Initiated(world.now_s, CallId(call_id), party, IdentityId(recipient_id), facts, LIMITS)
            world, reply = switched(world, find(world, call_id), event)
        case _:
            call = find(world, request.call_id)
            event = Requested(world.now_s, node.endpoint, request, free_for(world, call))
            world, reply = switched(world, call, event)
    node = world.nodes[index]
    return put(world, index, replace(node, down=(*node.down, (request, reply))))


def admission(world: World, node: Node, recipient: IdentityId) -> Admission:
    members = tuple(IdentityId(name) for name in dict(world.groups).get(recipient, (recipient,)))
    turns = tuple(Round((name,), 30.0) for name in members) if recipient in world.sequences else ()
    queue = waiting.queue(world.calls)
    return admit(
        open_legs(world.calls),
        online(world),
        node.endpoint,
        members,
        rounds=turns,
        silence=silence(world),
        position=waiting.place(queue, recipient, LIMITS.queue_length) if recipient in world.queues else None,
    )


def resynced(world: World, index: int, request: Resync) -> tuple[World, Reply]:
    node = world.nodes[index]
    world = replace(world, registered=(*world.registered[:index], True, *world.registered[index + 1 :]))
    open_calls = tuple(call for call in world.calls if call.phase is not HubPhase.ENDED)
    for call in concerned(open_calls, node.endpoint):
        engaged = open_legs(world.calls).get(node.endpoint)
        other = node.name in world.quiet or (engaged is not None and engaged.call_id != call.call_id)
        world = switched(world, find(world, call.call_id), Returned(world.now_s, node.party, other))[0]
    named = {known.call_id for known in request.calls}
    states = [
        state
        for call in world.calls
        if (call.call_id in named or any(leg.endpoint == node.endpoint for leg in call.open_legs))
        and (state := view(call, node.endpoint)) is not None
    ]
    return world, Reply(ok=True, calls=tuple(states))


def find(world: World, call_id: str) -> HubCall | None:
    return next((call for call in world.calls if call.call_id == call_id), None)


def check_hub(world: World) -> None:
    taken: list[Endpoint] = [leg.endpoint for call in world.calls for leg in call.open_legs]
    if len(taken) != len(set(taken)):
        raise Broken(f"a device has two open legs: {taken}")
    for call in world.calls:
        if call.phase is not HubPhase.ENDED and call.lease_s is None:
            raise Broken(f"no lease on {call}")
        if call.phase is HubPhase.RINGING and (call.position is None) != bool(call.ringing):
            raise Broken(f"nobody rings and nobody waits, or both: {call}")
        if any(leg.party.identity in world.quiet for leg in call.ringing):
            raise Broken(f"it rings where nobody is to be disturbed: {call}")
