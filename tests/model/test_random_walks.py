"""Long walks that the breadth-first explorer does not reach: many calls, many faults, weighted like a bad week."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.moves import chosen, press, steps, take
from tests.model.settling import check_settled, household, settle
from tests.model.world import World

GROUPS = (("home", ("flat", "kitchen")),)
WEIGHTS = {"press": 3, "drop": 2, "cut": 2, "fire": 2, "restart": 1}
"""Against what happens by itself, which has 12 together."""


def start() -> World:
    presses = ("call", "hangup") * 4
    return household(
        ("door", "home", presses), ("flat", "door", presses), ("kitchen", "flat", presses),
        groups=GROUPS, cuts=3, drops=4, fires=4, restarts=1,
    )  # fmt: skip


START = start()


def choose(world: World, draw: st.DataObject) -> World | None:
    by_itself = list(steps(world))
    people = list(chosen(world))
    total = 12 * bool(by_itself) + sum(WEIGHTS[kind] for kind in {step[0] for step in people})
    if not total:
        return None
    ticket = draw.draw(st.integers(0, total - 1))
    if by_itself and ticket < 12:
        return take(world, by_itself[ticket % len(by_itself)])
    kinds = sorted({step[0] for step in people})
    kind = kinds[ticket % len(kinds)]
    of_kind = [step for step in people if step[0] == kind]
    step = of_kind[draw.draw(st.integers(0, len(of_kind) - 1))]
    if kind == "press" and world.cuts and draw.draw(st.integers(0, 5)) == 0:
        return press(world, step[1], step[2], cut_at=draw.draw(st.integers(0, 4)))
    return take(world, step)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_a_bad_week_ends_in_agreement(data: st.DataObject) -> None:
    world = START
    for _ in range(data.draw(st.integers(10, 120))):
        after = choose(world, data)
        if after is None:
            break
        world = after
    check_settled(settle(world, {}))
