"""Debounce against recorded-like bounce traces: one press counts once, none is lost, and none waits."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercomd.core.buttons import (
    DEAD_S,
    FLICKER_S,
    HOLD_S,
    Buttons,
    Edge,
    Held,
    Pressed,
    Reread,
    Tick,
    due_s,
    handle,
    watching,
)

TRACES = sorted((Path(__file__).parents[1] / "golden" / "bounce").glob("*.json"))
REREAD_MS = 90.0
SETTLE_MS = 300.0
ONE = {"call": False}


@dataclass(frozen=True)
class Trace:
    edges_ms: list[tuple[float, bool]]
    presses_ms: list[tuple[float, float]]
    """Each press: when it must be told at the earliest and at the latest."""


def load(path: Path) -> Trace:
    raw = json.loads(path.read_text())
    return Trace([(at, down) for at, down in raw["edges_ms"]], [(low, high) for low, high in raw["presses_ms"]])


def play(edges_ms: list[tuple[float, bool]], phase_ms: float, seen: list[bool] | None = None) -> list[float]:
    """Feed the edges (those that are `seen`; the line moves all the same) and a re-reading every `REREAD_MS`;
    give the times in ms at which a press was told."""
    seen = seen or [True] * len(edges_ms)
    end_ms = edges_ms[-1][0] + SETTLE_MS
    rereads = [phase_ms + REREAD_MS * i for i in range(int((end_ms - phase_ms) / REREAD_MS) + 1)]
    steps = sorted([(at, 0, i) for i, (at, _) in enumerate(edges_ms)] + [(at, 1, -1) for at in rereads])
    state, line, told = watching(ONE, 0.0), False, []
    for at_ms, _, index in steps:
        if index >= 0:
            line = edges_ms[index][1]
            if not seen[index]:
                continue
        event = Edge("call", line, at_ms / 1000) if index >= 0 else Reread({"call": line, "ready": True}, at_ms / 1000)
        state, actions = handle(state, event)
        told += [at_ms for action in actions if action == Pressed("call")]
    assert not state.contacts[0].pressed, "the release was lost"
    return told


@pytest.mark.parametrize("phase_ms", [0.0, 13.0, 29.0, 47.0, 61.0, 88.0])
@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_trace(path: Path, phase_ms: float) -> None:
    trace = load(path)
    told = play(trace.edges_ms, phase_ms)
    assert len(told) == len(trace.presses_ms), told
    for at_ms, (low, high) in zip(told, trace.presses_ms, strict=True):
        assert low <= at_ms <= high


def test_all_traces_are_there() -> None:
    assert len(TRACES) >= 8


@pytest.mark.parametrize(
    "path", [p for p in TRACES if p.stem in ("twenty_edges", "slow_contact")], ids=lambda p: p.stem
)
def test_edges_dropped_by_the_kernel(path: Path) -> None:
    """It keeps 16 edges per line; what was dropped behind them shows in the levels."""
    trace = load(path)
    seen = [i < 16 for i in range(len(trace.edges_ms))]
    told = play(trace.edges_ms, 7.0, seen)
    assert told == [100.0]


def test_every_edge_lost() -> None:
    """Without a single edge the re-reading alone finds the press, late but once."""
    assert len(play([(100.0, True), (320.0, False)], 5.0, [False, False])) == 1


crackles = st.lists(st.tuples(st.floats(0.05, 12.0), st.floats(0.05, FLICKER_S * 1000 - 0.5)), max_size=12)


@given(crackles, st.floats(0.0, REREAD_MS))
def test_any_crackle_is_one_press(crackle: list[tuple[float, float]], phase_ms: float) -> None:
    """However long a contact crackles: if it never opens for `FLICKER_S`, it is one press, told at once."""
    edges, at = [(100.0, True)], 100.0
    for closed_ms, open_ms in crackle:
        edges += [(at + closed_ms, False), (at + closed_ms + open_ms, True)]
        at += closed_ms + open_ms
    assert play([*edges, (at + 120.0, False)], phase_ms) == [100.0]


@given(
    st.lists(st.tuples(st.floats(15.0, 400.0), st.floats(60.0, 400.0)), min_size=1, max_size=6),
    st.floats(0.0, REREAD_MS),
)
def test_distinct_presses_are_all_told_at_their_edge(presses: list[tuple[float, float]], phase_ms: float) -> None:
    """Down for 15 ms or more and up for 60 or more, on a clean contact: each is told at its first edge."""
    edges, at, expected = [], 100.0, []
    for down_ms, up_ms in presses:
        edges += [(at, True), (at + down_ms, False)]
        expected.append(at)
        at += down_ms + up_ms
    assert play(edges, phase_ms) == expected


def test_jammed_at_boot_is_no_press() -> None:
    state = watching({"call": True}, 10.0)
    for event in (Reread({"call": True}, 10.1), Tick(20.0), Edge("call", False, 30.0)):
        state, actions = handle(state, event)
        assert actions == ()
    state, actions = handle(state, Edge("call", True, 30.2))
    assert actions == (Pressed("call"),)


def test_buttons_do_not_share_their_dead_time() -> None:
    state = watching({"call": False, "hangup": False}, 0.0)
    state, first = handle(state, Edge("call", True, 1.0))
    state, second = handle(state, Edge("hangup", True, 1.001))
    assert (first, second) == ((Pressed("call"),), (Pressed("hangup"),))


def test_stale_reread_behind_an_edge() -> None:
    """Levels read just before an edge, handled just after it: the press is neither undone nor told twice."""
    state, _ = handle(watching(ONE, 0.0), Edge("call", True, 1.0))
    state, actions = handle(state, Reread({"call": False}, 0.9995))
    assert actions == ()
    state, actions = handle(state, Reread({"call": True}, 1.1))
    assert actions == ()


def test_unknown_lines_are_ignored() -> None:
    state = watching(ONE, 0.0)
    assert handle(state, Edge("door", True, 1.0)) == (state, ())
    assert handle(state, Reread({"door": True}, 1.0)) == (state, ())


def held(state: Buttons, at_s: float, idle: bool = True) -> tuple[Buttons, bool]:
    state, actions = handle(state, Tick(at_s, idle))
    return state, actions == (Held("call"),)


def test_hold_is_told_once_after_five_seconds() -> None:
    state, _ = handle(watching(ONE, 0.0), Edge("call", True, 1.0))
    told = []
    for tenth in range(10, 150):
        state, now = held(state, tenth / 10)
        told += [tenth / 10] if now else []
    assert told == [1.0 + HOLD_S]


def test_hold_survives_a_flicker_and_ends_with_the_release() -> None:
    state, _ = handle(watching(ONE, 0.0), Edge("call", True, 1.0))
    for event in (Edge("call", False, 3.0), Edge("call", True, 3.001), Reread({"call": True}, 3.06)):
        state, _ = handle(state, event)
    _, now = held(state, 6.0)
    assert now
    state, _ = handle(state, Edge("call", False, 5.9))
    _, now = held(state, 7.0)
    assert not now


def test_hold_counts_only_while_idle() -> None:
    state, _ = handle(watching(ONE, 0.0), Edge("call", True, 1.0))
    state, now = held(state, 4.0, idle=False)
    assert not now
    state, now = held(state, 8.9)
    assert not now
    state, now = held(state, 9.0)
    assert now


def test_due_after_a_swallowed_release() -> None:
    state = watching(ONE, 0.0)
    assert due_s(state) is None
    state, _ = handle(state, Edge("call", True, 1.0))
    assert due_s(state) is None
    state, _ = handle(state, Edge("call", False, 1.02))
    assert due_s(state) == 1.0 + DEAD_S
    state, _ = handle(state, Reread({"call": False}, 1.0 + DEAD_S))
    assert due_s(state) is None


def test_limits_come_from_the_configuration() -> None:
    state, _ = handle(watching(ONE, 0.0, dead_s=0.2, hold_s=2.0), Edge("call", True, 1.0))
    _, now = held(state, 3.0)
    assert now
    state, _ = handle(state, Edge("call", False, 1.1))
    state, actions = handle(state, Edge("call", True, 1.19))
    assert actions == ()
