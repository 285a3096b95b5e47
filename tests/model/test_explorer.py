"""Breadth first over all orders of presses, messages, timers, dropped links, hub restarts and power cuts after any
effect.

Safety is checked in every world (`world.check_*`), liveness by settling every world: links return, queues drain, time
goes on, and then both ends and the hub must agree."""

from collections import deque

import pytest

from tests.model.moves import moves
from tests.model.settling import check_settled, household, settle, settle_after_a_long_boot
from tests.model.world import Broken, World

DOOR, FLAT = "door", "flat"

SCENES = {
    "plain call, hang-up anywhere": (
        household((DOOR, FLAT, ("call", "hangup")), (FLAT, DOOR, ("call", "hangup"))), 12_000),
    "power cut after any effect": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), cuts=1), 12_000),
    "two power cuts": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), cuts=2), 12_000),
    "power cut and a hang-up": (
        household((DOOR, FLAT, ("call", "hangup")), (FLAT, None, ("call",)), cuts=1), 12_000),
    "power cut and a dropped link": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), cuts=1, drops=1), 12_000),
    "link dropped anywhere, twice": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), drops=2), 12_000),
    "the door is asked for while links drop": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "door", "door")), drops=2), 6_000),
    "it is answered without a person, and the power fails": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), auto=(FLAT,), cuts=1, fires=1), 6_000),
    "it is answered without a person, and a link drops": (
        household((DOOR, FLAT, ("call", "hangup")), (FLAT, None, ("call",)), auto=(FLAT,), drops=1, fires=1), 6_000),
    "link dropped and a hang-up": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "hangup")), drops=1), 12_000),
    "the network changes": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "hangup")), reroutes=2), 12_000),
    "the network changes and the link drops": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), reroutes=1, drops=1), 12_000),
    "both dial each other": (
        household((DOOR, FLAT, ("call",)), (FLAT, DOOR, ("call",)), drops=1, cuts=1), 12_000),
    "timers fire early": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), fires=2), 12_000),
    "the hub restarts": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "hangup")), restarts=1), 12_000),
    "the hub restarts and the power fails": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), restarts=1, cuts=1), 12_000),
    "a group rings": (
        household((DOOR, "home", ("call",)), (FLAT, None, ("call",)), ("kitchen", None, ("call", "hangup")),
                  groups=(("home", (FLAT, "kitchen")),), drops=1), 12_000),
    "a group rings and the power fails": (
        household((DOOR, "home", ("call",)), (FLAT, None, ("call",)), ("kitchen", None, ("call",)),
                  groups=(("home", (FLAT, "kitchen")),), cuts=1), 12_000),
    "a sequence rings": (
        household((DOOR, "home", ("call", "hangup")), (FLAT, None, ("hangup",)), ("kitchen", None, ("call",)),
                  groups=(("home", (FLAT, "kitchen")),), sequences=("home",)), 12_000),
    "a sequence rings and the link drops": (
        household((DOOR, "home", ("call",)), (FLAT, None, ("hangup",)), ("kitchen", None, ("call",)),
                  groups=(("home", (FLAT, "kitchen")),), sequences=("home",), drops=1), 12_000),
    "a sequence rings and the hub restarts": (
        household((DOOR, "home", ("call",)), (FLAT, None, ("hangup",)), ("kitchen", None, ("call",)),
                  groups=(("home", (FLAT, "kitchen")),), sequences=("home",), restarts=1), 12_000),
    "one waits": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "hangup")), ("kitchen", FLAT, ("call", "hangup")),
                  queues=(FLAT,)), 12_000),
    "one waits and the link drops": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "hangup")), ("kitchen", FLAT, ("call",)),
                  queues=(FLAT,), drops=1), 12_000),
    "one waits and the hub restarts": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "hangup")), ("kitchen", FLAT, ("call",)),
                  queues=(FLAT,), restarts=1), 12_000),
    "one waits and the power fails": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call", "hangup")), ("kitchen", FLAT, ("call",)),
                  queues=(FLAT,), cuts=1), 6_000),
    "they wait for each other": (
        household((DOOR, FLAT, ("call", "hangup")), (FLAT, "kitchen", ("call",)), ("kitchen", DOOR, ("call",)),
                  queues=(DOOR, FLAT, "kitchen")), 6_000),
    "one is not to be disturbed": (
        household((DOOR, "home", ("call",)), (FLAT, None, ("call",)), ("kitchen", FLAT, ("call",)),
                  groups=(("home", (FLAT, "kitchen")),), quiet=(FLAT,), drops=1), 12_000),
    "one meets busy": (
        household((DOOR, FLAT, ("call",)), (FLAT, None, ("call",)), ("kitchen", FLAT, ("call", "hangup"))), 12_000),
    "a second call after the first": (
        household((DOOR, FLAT, ("call", "hangup", "call")), (FLAT, DOOR, ("call",))), 12_000),
}  # fmt: skip


def explore(start: World, limit: int) -> int:
    """How many distinct worlds were tried. Raises `Broken` with the shortest way to the fault."""
    origin: dict[World, tuple[World, str] | None] = {start: None}
    queue = deque([start])
    known: dict[World, World] = {}
    while queue and len(origin) < limit:
        world = queue.popleft()
        label = ""
        try:
            check_settled(settle(world, known))
            if not all(node.alive for node in world.nodes):
                check_settled(settle_after_a_long_boot(world))
            for label, after in moves(world):
                if after not in origin:
                    origin[after] = (world, label)
                    queue.append(after)
        except Broken as fault:
            raise Broken("\n".join([str(fault), *way(origin, world), f"now: {label}"])) from fault
    return len(origin)


def way(origin: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    labels = []
    step = origin[world]
    while step is not None:
        labels.append(step[1])
        step = origin[step[0]]
    return labels[::-1]


@pytest.mark.parametrize("scene", SCENES)
def test_every_order_is_safe_and_comes_to_rest(scene: str) -> None:
    start, limit = SCENES[scene]
    tried = explore(start, limit)
    assert tried > 300, f"only {tried} worlds: the scene does not play"
