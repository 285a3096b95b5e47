"""Debounced events: a stream of values per key, thinned to at most one per window.

The first value passes at once and opens a window of `delay_s`; of the values offered inside it only the last is
kept, and passes when the window ends (which opens the next one). Used where only the newest value matters: a
call's metrics, the station's status. Events that mean something each (`end_call`) are idempotent instead and never
go through here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Pass(Generic[K, V]):
    """Emit this value now."""

    key: K
    value: V


@dataclass(frozen=True, slots=True)
class OpenWindow(Generic[K]):
    """Call `expire(state, key)` after `delay_s`."""

    key: K
    delay_s: float


@dataclass(frozen=True, slots=True)
class _Window(Generic[K, V]):
    """`held` is empty or the one value that waits for the window's end."""

    key: K
    held: tuple[V, ...] = ()


@dataclass(frozen=True, slots=True)
class Debounce(Generic[K, V]):
    """`delay_s` is the least time between two values of a key."""

    delay_s: float
    windows: tuple[_Window[K, V], ...] = ()


Step = tuple[Debounce[K, V], Sequence[Pass[K, V] | OpenWindow[K]]]


def offer(state: Debounce[K, V], key: K, value: V) -> Step[K, V]:
    """A new value: it passes, or it replaces the one that waits."""
    if _window(state, key) is None:
        return _pass(state, key, value)
    return _put(state, _Window(key, (value,))), ()


def expire(state: Debounce[K, V], key: K) -> Step[K, V]:
    """The key's window is over: what waits passes. An unknown key changes nothing (its timer fired late)."""
    window = _window(state, key)
    if window is None:
        return state, ()
    if window.held:
        return _pass(state, key, window.held[0])
    return _without(state, key), ()


def flush(state: Debounce[K, V], key: K) -> Step[K, V]:
    """The key will get no more values (the call is over): what waits passes now, and the key is forgotten."""
    window = _window(state, key)
    waiting = window.held if window is not None else ()
    return _without(state, key), tuple(Pass(key, value) for value in waiting)


def _window(state: Debounce[K, V], key: K) -> _Window[K, V] | None:
    return next((window for window in state.windows if window.key == key), None)


def _without(state: Debounce[K, V], key: K) -> Debounce[K, V]:
    return replace(state, windows=tuple(window for window in state.windows if window.key != key))


def _put(state: Debounce[K, V], window: _Window[K, V]) -> Debounce[K, V]:
    return replace(state, windows=(*_without(state, window.key).windows, window))


def _pass(state: Debounce[K, V], key: K, value: V) -> Step[K, V]:
    return _put(state, _Window(key)), (Pass(key, value), OpenWindow(key, state.delay_s))
