"""The household left alone: `settle(world)` lets no more harm happen, brings links and power back, and runs it until
nothing moves; then both ends and the hub must agree."""

from msgspec.structs import replace

from intercomd.core.events import (
    Card,
    Timer,
    TimerFired,
)  # fmt: skip
from intercomd.core.station import Phase, Settings, Station
from intercomd.core.switchboard import LeaseExpired
from intercomd.core.vocabulary import HubPhase
from intercomd.ids import IdentityId
from tests.model.moves import describe, steps, take
from tests.model.world import Broken, Node, World, connect, feed, free_for, switched, timed_out


def household(*plans: tuple[str, str | None, tuple[str, ...]], groups: tuple[tuple[str, tuple[str, ...]], ...] = (),
              sequences: tuple[str, ...] = (), queues: tuple[str, ...] = (), quiet: tuple[str, ...] = (),
              auto: tuple[str, ...] = (),
              **budget: int) -> World:  # fmt: skip
    """Stations as (name, whom its button calls, presses), all registered at the hub and idle."""
    nodes = tuple(
        Node(name, Station(_settings(name, peer, plans, auto), card=Card.READY), presses=presses)
        for name, peer, presses in plans
    )
    world = World(
        nodes, groups=groups, sequences=sequences, queues=queues, quiet=quiet,
        registered=(False,) * len(nodes), **budget,
    )  # fmt: skip
    for index in range(len(nodes)):
        world = connect(world, index)
    return drained(world)


def _settings(name: str, peer: str | None, plans: tuple[tuple[str, str | None, tuple[str, ...]], ...],
              auto: tuple[str, ...]) -> Settings:  # fmt: skip
    """Stations in `auto` answer everybody else by themselves."""
    others = tuple(IdentityId(other) for other, _, _ in plans if other != name) if name in auto else ()
    return Settings(peer_id=IdentityId(peer) if peer else None, auto_answer=others)


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
            call = world.calls[index]
            world = switched(world, call, LeaseExpired(world.now_s, free_for(world, call)))[0]
        else:
            world = feed(timed_out(world, index, timer), index, TimerFired(timer))
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
