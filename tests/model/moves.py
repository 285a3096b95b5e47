"""Everything that can happen next in a household: deliveries, presses, timers, dropped links, and a power cut after any
effect."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from intercomd.core.events import (
    CallPressed,
    Described,
    DoorPressed,
    HangupPressed,
    MediaLost,
    MediaUp,
    PathChanged,
    Received,
    Replied,
    TimerFired,
)  # fmt: skip
from intercomd.core.station import Phase
from intercomd.core.switchboard import Restored
from intercomd.core.vocabulary import Sdp
from intercomd.ids import CallId
from tests.model.world import Media, World, arrive, boot, connect, cut, drop, feed, put, switched, timed_out


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
            world = replace(timed_out(world, index, event), fires=world.fires - 1, tampered=True, answered=False)
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
    if button == "door":
        return feed(replace(world, asked=world.asked + 1), index, DoorPressed(), cut_at)
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
