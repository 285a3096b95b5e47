"""The judges of the random kills: each fault that they are there for is found in a doctored history, nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from intercomd.core.legs import HubCall
from tests.bench.recovery.kills_agreement import Seen, disagreements
from tests.bench.recovery.kills_audit import Books, Record, Story, audit
from tests.bench.recovery.kills_house import Flash
from tests.bench.recovery.kills_scenes import HUB, STATIONS, Aim, Kill, scene
from tests.bench.recovery.kills_words import company, phase_of, refined, table
from tests.unit.hub_calls import connected, ringing

RING_S = 5.0
IDLE = Seen("idle")
RINGING_IN = Seen("ringing", "c", "callee", ringing="fast")
RINGING_OUT = Seen("ringing", "c", "caller", ringing="slow")
CALLER, CALLEE = (Seen("connected", "c", role, 1, talking="on", microphone=True) for role in ("caller", "callee"))

STORY = Story("c", "1/0/0", "door", True, {"door", "flat"}, True, {"flat"}, {"door", "flat"})
RECORD = Record("c", "", "completed", "completed", 100.0, 102.0, 110.0)
BOOKS = Books([RECORD], frozenset({("c", "door"), ("c", "flat")}))


@pytest.mark.parametrize(
    ("door", "flat", "calls"),
    [
        (IDLE, IDLE, []),
        (RINGING_OUT, RINGING_IN, [ringing()]),
        (CALLER, CALLEE, [connected()]),
    ],
)
def test_agreement_is_silent(door: Seen, flat: Seen, calls: list[HubCall]) -> None:
    assert disagreements({"door": door, "flat": flat, "kitchen": IDLE}, calls) == []


@pytest.mark.parametrize(
    ("door", "flat", "calls", "said"),
    [
        (IDLE, RINGING_IN, [], "flat is ringing in c, and the hub knows of no call"),
        (RINGING_OUT, IDLE, [ringing()], "flat is idle, and the hub has it in c (ringing)"),
        (RINGING_OUT, RINGING_IN, [connected()], "door is ringing, and for the hub the call is connected"),
        (CALLER, CALLEE, [ringing()], "flat is connected, and for the hub the call is ringing"),
        (CALLER, replace(CALLEE, epoch=2), [connected()], "flat is in epoch 2, and the hub in 1"),
        (CALLER, replace(CALLEE, call_id="d"), [connected()], "flat is in d, and the hub has it in c"),
        (replace(IDLE, ringing="slow"), IDLE, [], "door is idle with the lamps ringing=slow, talking=off"),
        (IDLE, replace(IDLE, talking="on"), [], "flat is idle with the lamps ringing=off, talking=on"),
        (IDLE, replace(IDLE, microphone=True), [], "flat is idle with the microphone open"),
        (CALLER, replace(CALLEE, microphone=False), [connected()], "flat is connected with the microphone closed"),
        (IDLE, replace(IDLE, registered=False), [], "flat is not registered"),
        (IDLE, replace(IDLE, phase="reconnecting", call_id="c"), [connected()], "flat is reconnecting"),
        (IDLE, None, [], "flat does not answer"),
    ],
)
def test_each_disagreement_is_named(door: Seen, flat: Seen | None, calls: list[HubCall], said: str) -> None:
    assert said in disagreements({"door": door, "flat": flat}, calls)


def found(story: Story | None = None, **changed: Any) -> list[tuple[str, str]]:
    books = replace(BOOKS, **changed)
    return [(finding.kind, finding.text) for finding in audit({"c": story or STORY}, books, RING_S)]


def test_good_books_are_left_alone() -> None:
    assert found() == []
    missed = replace(RECORD, outcome="missed", reason="timeout", answered_at=None)
    nobody = replace(STORY, connected=set(), answerable=False, hung_up=set())
    assert found(nobody, records=[missed]) == []


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"records": []}, "lost", "no record of it"),
        ({"records": [replace(RECORD, reported_by="door")]}, "lost", "no record of it"),
        ({"records": [RECORD, replace(RECORD, reported_by="door")]}, "doubled", "2 records: 1 by door, 1 by the hub"),
        ({"records": [RECORD, RECORD]}, "doubled", "2 records: 2 by the hub"),
        ({"legs": frozenset({("c", "door")})}, "lost", "flat wrote a record"),
        ({"waiting": {"door": 0, "flat": 3}}, "lost", "flat still holds 3 records"),
        ({"open_calls": ["c"]}, "stuck", "still has it open"),
        ({"kept_calls": {"door": "c"}}, "stuck", "door still keeps it on flash"),
        ({"records": [replace(RECORD, answered_at=None, outcome="missed", reason="timeout")]}, "outcome",
         "door and flat showed it connected"),
        ({"records": [replace(RECORD, outcome="missed")]}, "outcome", "it is completed"),
        ({"records": [replace(RECORD, reason="peer_lost")]}, "outcome", "no person and no limit explains"),
        ({"records": [replace(RECORD, ended_at=101.0)]}, "outcome", "its times are"),
    ],
)  # fmt: skip
def test_each_fault_of_the_books_is_found(changed: dict[str, Any], kind: str, said: str) -> None:
    assert [one for one in found(**changed) if one[0] == kind and said in one[1]], found(**changed)


@pytest.mark.parametrize(
    ("story", "record", "said"),
    [
        (replace(STORY, answerable=False), RECORD, "nobody was asked to answer it"),
        (replace(STORY, hung_up=set()), RECORD, "nobody hung up"),
        (replace(STORY, connected=set()), replace(RECORD, answered_at=None, outcome="missed", reason="cancelled"),
         "the caller never hung up"),
        (replace(STORY, connected=set(), hung_up={"door"}),
         replace(RECORD, answered_at=None, outcome="rejected", reason="rejected"), "nobody declined it"),
        (replace(STORY, connected=set()),
         replace(RECORD, answered_at=None, outcome="missed", reason="timeout", ended_at=103.0), "it rang for 3.0 s"),
    ],
)  # fmt: skip
def test_an_outcome_that_nothing_explains_is_found(story: Story, record: Record, said: str) -> None:
    assert [text for kind, text in found(story, records=[record]) if kind == "outcome" and said in text]


def test_a_seed_gives_the_same_scenes_and_each_aim_its_turn() -> None:
    scenes = [scene(7, 1, number) for number in range(110)]
    assert scenes == [scene(7, 1, number) for number in range(110)]
    assert scenes != [scene(8, 1, number) for number in range(110)]
    for turn in range(0, 110, len(Aim)):
        assert {one.aim for one in scenes[turn : turn + len(Aim)]} == set(Aim)


def test_scenes_kill_every_kind_of_victim() -> None:
    kills = [deed for number in range(300) for deed in scene(1, 0, number).deeds if isinstance(deed, Kill)]
    victims = {frozenset(kill.victims) for kill in kills}
    assert {frozenset({name}) for name in (*STATIONS, HUB)} <= victims
    assert any(HUB in dead and len(dead) == 2 for dead in victims)
    assert any(HUB not in dead and len(dead) == 2 for dead in victims)
    assert len(kills) > 300


@pytest.mark.parametrize(
    ("shown", "flash", "phase"),
    [
        (IDLE, Flash(), "idle"),
        (IDLE, Flash(waiting=2), "idle, records wait"),
        (IDLE, Flash("dialling"), "dialling"),
        (IDLE, Flash("ringing"), "ringing in"),
        (replace(IDLE, phase="connecting"), Flash("dialling"), "calling"),
        (RINGING_IN, Flash("ringing"), "ringing in"),
        (RINGING_OUT, Flash("dialling"), "ringing out"),
        (RINGING_IN, Flash("connected"), "connecting"),
        (CALLER, Flash("connected"), "connected"),
        (CALLER, Flash(), "ending"),
        (replace(CALLER, phase="reconnecting"), Flash("connected"), "reconnecting"),
        (Seen("reconnecting", registered=False), Flash("connected"), "restoring"),
    ],
)
def test_a_dead_station_was_where_its_flash_says(shown: Seen, flash: Flash, phase: str) -> None:
    assert refined(phase_of(shown), flash) == phase


def test_the_table_counts_each_death_once() -> None:
    phases = {("idle", company(("door",))): 3, ("idle", company((HUB, "door"))): 1, ("connected", company((HUB,))): 2}
    lines = [line.split() for line in table(phases).splitlines()]
    assert lines[1:] == [["idle", "3", "0", "0", "1", "4"], ["connected", "0", "0", "2", "0", "2"]]
