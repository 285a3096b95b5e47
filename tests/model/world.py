"""A whole household as one immutable value: stations, their flash and media, the hub, the wires between them.

`moves(world)` lists everything that can happen next: deliveries, presses, timers, dropped links, and a power cut after
any effect. `settle(world)` lets no more harm happen, brings links and power back, and runs the household until nothing
moves. The reducers are the shipped ones; what is modelled is what surrounds them.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from intercomd.core import call as station_core
from intercomd.core import switch
from intercomd.core.admission import admit, concerned, open_legs
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
    CallPressed,
    Card,
    Described,
    HangupPressed,
    LinkDown,
    LinkUp,
    MediaLost,
    MediaUp,
    PathChanged,
    Received,
    Replied,
    Timer,
    TimerFired,
    Unanswered,
)  # fmt: skip
from intercomd.core.legs import Endpoint, HubCall, Party, view
from intercomd.core.protocol import Heartbeat, HubPhase, InitiateCall, Notice, Reply, Request, Resync, Sdp
from intercomd.core.snapshot import Role, SavedPhase, Snapshot
from intercomd.core.station import ANSWERED, Phase, Settings, Station
from intercomd.core.switchboard import Answer, Initiated, LeaseExpired, Requested, Restored, Returned, Tell, Vanished
from intercomd.ids import CallId, IdentityId, InstanceId


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
    cuts: int = 0
    drops: int = 0
    fires: int = 0
    restarts: int = 0
    reroutes: int = 0
    tampered: bool = False
    """A timer fired early, or somebody hung up."""
    now_s: float = 0.0
    was_up: bool = False
    """Two stations were connected with each other and nobody has ended it: it must come back."""
    answered: bool = False
    """Somebody's answer is on flash, of two stations, and no timer was tampered with: it must become a call."""


class Broken(AssertionError):
    """A property does not hold."""


def household(*plans: tuple[str, str | None, tuple[str, ...]], groups: tuple[tuple[str, tuple[str, ...]], ...] = (),
              **budget: int) -> World:  # fmt: skip
    """Stations as (name, whom its button calls, presses), all registered at the hub and idle."""
    nodes = tuple(
        Node(name, Station(Settings(peer_id=IdentityId(peer) if peer else None), card=Card.READY), presses=presses)
        for name, peer, presses in plans
    )
    world = World(nodes, groups=groups, registered=(False,) * len(nodes), **budget)
    for index in range(len(nodes)):
        world = connect(world, index)
    return drained(world)


# ------------------------------------------------------------------------------------------------ one step of a node


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
    """Run the hub's reducer and deliver its effects into the wires."""
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
        case InitiateCall(call_id, recipient_id):
            members = dict(world.groups).get(recipient_id, (recipient_id,))
            online = {
                IdentityId(n.name): (n.party,) for n, there in zip(world.nodes, world.registered, strict=True) if there
            }
            admission = admit(
                open_legs(world.calls), online, node.endpoint, tuple(IdentityId(member) for member in members)
            )
            event = Initiated(world.now_s, CallId(call_id), party, IdentityId(recipient_id), admission)
            world, reply = switched(world, find(world, call_id), event)
        case _:
            event = Requested(world.now_s, node.endpoint, request)
            world, reply = switched(world, find(world, request.call_id), event)
    node = world.nodes[index]
    return put(world, index, replace(node, down=(*node.down, (request, reply))))


def resynced(world: World, index: int, request: Resync) -> tuple[World, Reply]:
    node = world.nodes[index]
    world = replace(world, registered=(*world.registered[:index], True, *world.registered[index + 1 :]))
    open_calls = tuple(call for call in world.calls if call.phase is not HubPhase.ENDED)
    for call in concerned(open_calls, node.endpoint):
        engaged = open_legs(world.calls).get(node.endpoint)
        other = engaged is not None and engaged.call_id != call.call_id
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


# ----------------------------------------------------------------------------------------------- what can happen next


def media_peer(world: World, index: int) -> Media | None:
    """The other end of the node's media: same call, same epoch."""
    mine = world.nodes[index]
    if mine.media is None or mine.station.call is None:
        return None
    for other in world.nodes:
        theirs = other.station.call
        if other is mine or not other.alive or other.media is None or theirs is None:
            continue
        if (theirs.call_id, other.media.epoch) == (mine.station.call.call_id, mine.media.epoch):
            return other.media
    return None


def media_events(world: World, index: int) -> Iterator[Any]:
    media = world.nodes[index].media
    if media is None:
        return
    peer = media_peer(world, index)
    if not media.described and (media.offerer or media.remote):
        yield Described(media.epoch, Sdp("offer" if media.offerer else "answer", "sdp"))
    if media.complete and not media.up and peer is not None and peer.complete:
        yield MediaUp(media.epoch)
    if media.up and peer is None:
        yield MediaLost(media.epoch, "peer gone")


def media_step(world: World, index: int, event: Any, cut_at: int | None = None) -> World:
    node = world.nodes[index]
    assert node.media is not None
    match event:
        case Described():
            media = replace(node.media, described=True)
        case MediaUp():
            media = replace(node.media, up=True)
        case _:
            media = replace(node.media, up=False, described=False, remote=False)
    return note(feed(put(world, index, replace(node, media=media)), index, event, cut_at))


def note(world: World) -> World:
    """Remember that two stations were connected, for the promise that they will be again."""
    ups = [
        node.station.call for node in world.nodes if node.station.call and node.station.call.phase is Phase.CONNECTED
    ]
    if not world.was_up and len(ups) == 2 and ups[0].call_id == ups[1].call_id and ups[0].epoch == ups[1].epoch:
        return replace(world, was_up=True)
    return world


def steps(world: World) -> Iterator[tuple[str, int, Any]]:
    """Everything that happens by itself: (kind, node, event)."""
    for index, node in enumerate(world.nodes):
        if not node.alive:
            yield ("boot", index, None)
            continue
        if not node.link:
            yield ("connect", index, None)
        if node.up:
            yield ("arrive", index, None)
        if node.down:
            yield ("deliver", index, None)
        for event in media_events(world, index):
            yield ("media", index, event)


def take(world: World, step: tuple[str, int, Any], cut_at: int | None = None) -> World:
    kind, index, event = step
    match kind:
        case "boot":
            return boot(world, index)
        case "connect":
            return connect(world, index)
        case "arrive":
            return arrive(world, index)
        case "deliver":
            node = world.nodes[index]
            item, world = node.down[0], put(world, index, replace(node, down=node.down[1:]))
            heard = Replied(*item) if isinstance(item, tuple) else Received(item)
            return note(feed(world, index, heard, cut_at))
        case "media":
            return media_step(world, index, event, cut_at)
        case "press":
            return press(world, index, event, cut_at)
        case "fire":
            node = world.nodes[index]
            world = put(world, index, replace(node, timers=tuple(t for t in node.timers if t[1] != event)))
            world = replace(world, fires=world.fires - 1, tampered=True, answered=False)
            return feed(world, index, TimerFired(event), cut_at)
        case "cut":
            return cut(world, index)
        case "reroute":
            world = replace(world, reroutes=world.reroutes - 1)
            return feed(world, index, PathChanged("another network"), cut_at)
        case "drop":
            return replace(drop(world, index), drops=world.drops - 1)
        case _:
            return restart_hub(replace(world, restarts=world.restarts - 1))


def press(world: World, index: int, button: str, cut_at: int | None = None) -> World:
    node = world.nodes[index]
    remaining = list(node.presses)
    remaining.remove(button)
    node = replace(node, presses=tuple(remaining), dialled=node.dialled + 1)
    world = put(world, index, node)
    if button == "hangup":
        world = replace(world, was_up=False, answered=False, tampered=True)
        return feed(world, index, HangupPressed(), cut_at)
    return feed(world, index, CallPressed(CallId(f"{node.name}-{node.dialled}")), cut_at)


def restart_hub(world: World) -> World:
    for index, node in enumerate(world.nodes):
        if node.alive and node.link:
            world = drop(world, index)
    for call in world.calls:
        world = switched(world, call, Restored(world.now_s))[0]
    return world


def moves(world: World) -> Iterator[tuple[str, World]]:
    """Every next world, with what led to it; power cuts after any effect while the budget lasts."""
    choices = [*steps(world), *chosen(world)]
    for step in choices:
        label = f"{step[0]} {world.nodes[step[1]].name} {describe(world, step)}"
        yield label, take(world, step)
        if world.cuts and step[0] in ("deliver", "media", "press", "fire"):
            for cut_at in range(8):
                before = take(world, step, cut_at)
                if before.nodes[step[1]].alive:
                    break
                yield f"{label} ... power cut after {cut_at} effects", before


def chosen(world: World) -> Iterator[tuple[str, int, Any]]:
    """What people and misfortune do, while the budgets last."""
    for index, node in enumerate(world.nodes):
        if not node.alive:
            continue
        for button in sorted(set(node.presses)):
            yield ("press", index, button)
        if world.fires:
            for _, timer in node.timers:
                yield ("fire", index, timer)
        if world.drops and node.link:
            yield ("drop", index, None)
        if world.cuts:
            yield ("cut", index, None)
        if world.reroutes and node.station.call is not None:
            yield ("reroute", index, None)
    if world.restarts:
        yield ("restart", 0, None)


def describe(world: World, step: tuple[str, int, Any]) -> str:
    kind, index, event = step
    node = world.nodes[index]
    match kind:
        case "arrive":
            return str(node.up[0])
        case "deliver":
            return str(node.down[0])
        case _:
            return str(event or "")


# --------------------------------------------------------------------------------------------------------- settling


def drained(world: World, known: dict[World, World] | None = None, *, boots: bool = True) -> World:
    """Deliver and boot until nothing moves by itself. `known` remembers results."""
    path: list[World] = []
    while True:
        if known is not None and world in known:
            world = known[world]
            break
        path.append(world)
        step = next((step for step in steps(world) if boots or step[0] != "boot"), None)
        if step is None:
            break
        world = take(world, step)
        if len(path) > 2_000:
            raise Broken(
                "it never comes to rest: " + str([describe(w, s) for w in path[-6:] if (s := next(steps(w), None))])
            )
    if known is not None:
        known.update(dict.fromkeys(path, world))
    return world


AWAY_S = 100.0
"""A boot that takes nearly the whole grace."""


def settle(world: World, known: dict[World, World], until_s: float = 400.0) -> World:
    """No more harm: links and power return, queues drain, and time goes on until `until_s`."""
    world = calm(world)
    world = drained(world, known)
    check_drained(world)
    return elapsed(world, until_s)


def settle_after_a_long_boot(world: World, until_s: float = 500.0) -> World:
    """The same, but who is without power stays away until `AWAY_S`, while the others live on."""
    world = elapsed(drained(calm(world), boots=False), AWAY_S, boots=False)
    # An answer that nobody has heard of may come too late: its ringing is over.
    world = drained(replace(world, now_s=max(world.now_s, AWAY_S), answered=False, tampered=True))
    check_drained(world)
    return elapsed(world, until_s)


def elapsed(world: World, until_s: float, *, boots: bool = True) -> World:
    """Timers and leases fire in their order until then."""
    for _ in range(400):
        due = next_due(world)
        if due is None or due[0] > until_s:
            return world
        at_s, index, timer = due
        world = replace(world, now_s=max(world.now_s, at_s))
        if timer is None:
            world = switched(world, world.calls[index], LeaseExpired(world.now_s))[0]
        else:
            node = world.nodes[index]
            world = put(world, index, replace(node, timers=tuple(t for t in node.timers if t[1] != timer)))
            world = feed(world, index, TimerFired(timer))
        world = drained(world, boots=boots)
    raise Broken("time goes on and it never comes to rest")


def calm(world: World) -> World:
    nodes = tuple(replace(node, presses=()) for node in world.nodes)
    return replace(world, nodes=nodes, cuts=0, drops=0, fires=0, restarts=0, reroutes=0)


def next_due(world: World) -> tuple[float, int, Timer | None] | None:
    timers: list[tuple[float, int, Timer | None]] = [
        (at_s, index, timer) for index, node in enumerate(world.nodes) if node.alive for at_s, timer in node.timers
    ]
    leases = [(call.lease_s + 0.001, index, None) for index, call in enumerate(world.calls) if call.lease_s is not None]
    return min([*timers, *leases], key=lambda due: (due[0], due[1]), default=None)


def check_drained(world: World) -> None:
    """Once links are back and queues are empty, before any timer: nobody who is idle is still bound at the hub."""
    for node in world.nodes:
        if node.station.call is None:
            for call in world.calls:
                legs = [leg for leg in call.open_legs if leg.endpoint == node.endpoint]
                if legs and call.phase is not HubPhase.RINGING:
                    raise Broken(f"{node.name} is idle, and a ghost of it stays in {call}")


def check_settled(world: World) -> None:
    """Liveness: both ends and the hub agree, and a call that was up without anybody ending it is up again."""
    open_calls = [call for call in world.calls if call.phase is not HubPhase.ENDED]
    for node in world.nodes:
        call = node.station.call
        legs = [c for c in open_calls if any(leg.endpoint == node.endpoint for leg in c.open_legs)]
        if call is None and legs:
            raise Broken(f"{node.name} is idle, the hub has it in {legs}")
        if call is not None and (call.phase is not Phase.CONNECTED or not legs or legs[0].call_id != call.call_id):
            raise Broken(f"{node.name} rests in {call}, the hub says {legs}")
        if call is not None and call.epoch != legs[0].epoch:
            raise Broken(f"{node.name} is in epoch {call.epoch}, the hub in {legs[0].epoch}")
        if node.microphone and call is None:
            raise Broken(f"{node.name}: open microphone while idle")
        saved = node.flash.call
        if (saved.call_id if saved else None) != (call.call_id if call else None):
            raise Broken(f"{node.name}: flash keeps {saved}, the station is in {call}")
    if world.answered and not open_calls:
        raise Broken(f"somebody answered, nobody ended it, and there is no call: {world.calls}")
    if world.was_up and not open_calls:
        raise Broken(f"the call was up, nobody ended it, and it is gone: {world.calls}")
