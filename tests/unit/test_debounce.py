"""The first value passes, the last one wins, and no key passes more than once per window."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from intercomd.core.debounce import Debounce, OpenWindow, Pass, expire, flush, offer

NEW: Debounce[str, int] = Debounce(delay_s=5.0)


def test_the_first_value_passes_at_once_and_opens_a_window() -> None:
    _, effects = offer(NEW, "a", 1)
    assert effects == (Pass("a", 1), OpenWindow("a", 5.0))


def test_inside_the_window_the_last_value_wins_and_waits() -> None:
    state, _ = offer(NEW, "a", 1)
    state, second = offer(state, "a", 2)
    state, third = offer(state, "a", 3)
    assert (second, third) == ((), ())
    _, effects = expire(state, "a")
    assert effects == (Pass("a", 3), OpenWindow("a", 5.0))


def test_a_quiet_window_closes_and_the_next_value_passes_at_once() -> None:
    state, _ = offer(NEW, "a", 1)
    state, effects = expire(state, "a")
    assert (state, effects) == (NEW, ())
    assert Pass("a", 2) in offer(state, "a", 2)[1]


def test_keys_do_not_delay_each_other() -> None:
    state, _ = offer(NEW, "a", 1)
    assert Pass("b", 1) in offer(state, "b", 1)[1]


def test_a_flush_passes_what_waits_and_forgets_the_key() -> None:
    state, _ = offer(NEW, "a", 1)
    state, _ = offer(state, "a", 2)
    state, effects = flush(state, "a")
    assert (state, effects) == (NEW, (Pass("a", 2),))
    assert expire(state, "a") == (NEW, ()), "its timer fires late, into nothing"


def test_a_flush_of_nothing_is_nothing() -> None:
    assert flush(NEW, "a") == (NEW, ())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 8)), max_size=40))
def test_at_most_one_value_per_window_and_never_is_the_last_one_lost(offers: list[tuple[str, float]]) -> None:
    state, now_s, due, passed, last = NEW, 0.0, dict[str, float](), list[tuple[float, str, int]](), dict[str, int]()

    def carry_out(effects: object, at_s: float) -> None:
        for effect in effects:  # type: ignore[attr-defined]
            if isinstance(effect, Pass):
                passed.append((at_s, effect.key, effect.value))
            else:
                due[effect.key] = at_s + effect.delay_s

    def let_pass(until_s: float) -> None:
        nonlocal state
        while due and min(due.values()) <= until_s:
            key = min(due, key=lambda name: due[name])
            at_s = due.pop(key)
            state, effects = expire(state, key)
            carry_out(effects, at_s)

    for value, (key, pause_s) in enumerate(offers):
        now_s += pause_s
        let_pass(now_s)
        last[key] = value
        state, effects = offer(state, key, value)
        carry_out(effects, now_s)
    let_pass(now_s + 100.0)

    for key in "ab":
        times = [at_s for at_s, name, _ in passed if name == key]
        assert all(after - before >= 5.0 - 1e-9 for before, after in pairwise(times))
        if key in last:
            assert [value for _, name, value in passed if name == key][-1] == last[key]
    assert state == NEW
