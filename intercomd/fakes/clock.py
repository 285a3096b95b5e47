"""A clock whose hands a test turns, for code that runs in real threads."""

import threading
from collections.abc import Callable

_LIMIT_S = 10.0
"""Real time. Only a test that fails ever waits so long."""
_LOOK_S = 0.02
"""A thread that ends tells nobody: look for it."""


class ManualClock:
    """`media.clock.Clock`. Time stands while any thread that has ever waited by it still runs: after `advance`,
    everything that was due has happened, in the order of its times."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._now_s = 1000.0
        self._waiting: dict[threading.Thread, tuple[ManualWakeup, float | None]] = {}
        self._known: set[threading.Thread] = set()
        self._running = False

    def now_s(self) -> float:
        return self._now_s

    def wakeup(self) -> "ManualWakeup":
        return ManualWakeup(self)

    def advance(self, duration_s: float) -> None:
        """Turn the hands from one waited-for time to the next, each time until all threads wait again."""
        with self._moved:
            until_s = self._now_s + duration_s
            self._settled()
            while (next_s := self._next_s()) is not None and next_s <= until_s:
                self._now_s = next_s
                self._moved.notify_all()
                self._settled()
            self._now_s = until_s
            self._moved.notify_all()
            self._settled()

    def run_out(self) -> None:
        """For the end of a test: from now on every wait is over at once, and time goes by for it."""
        with self._moved:
            self._running = True
            self._moved.notify_all()

    def settle(self, threads: int) -> None:
        """Wait until so many threads wait by this clock."""
        with self._moved:
            self._until(lambda: self._quiet() and len(self._known) >= threads, f"fewer than {threads} threads wait")

    def wait(self, wakeup: "ManualWakeup", timeout_s: float | None) -> bool:
        """The whole of `ManualWakeup.wait`."""
        with self._moved:
            me, deadline_s = threading.current_thread(), None if timeout_s is None else self._now_s + timeout_s
            self._known.add(me)
            self._waiting[me] = (wakeup, deadline_s)
            self._moved.notify_all()
            self._moved.wait_for(lambda: self._running or self._over(wakeup, deadline_s))
            del self._waiting[me]
            if deadline_s is not None and not wakeup.is_set():
                self._now_s = max(self._now_s, deadline_s)
            return wakeup.is_set()

    def touch(self) -> None:
        """A wake-up was set."""
        with self._moved:
            self._moved.notify_all()

    def _over(self, wakeup: "ManualWakeup", deadline_s: float | None) -> bool:
        return wakeup.is_set() or (deadline_s is not None and self._now_s >= deadline_s)

    def _quiet(self) -> bool:
        self._known = {thread for thread in self._known if thread.is_alive()}
        others = self._known - {threading.current_thread()}
        return all(thread in self._waiting and not self._over(*self._waiting[thread]) for thread in others)

    def _next_s(self) -> float | None:
        return min((deadline_s for _, deadline_s in self._waiting.values() if deadline_s is not None), default=None)

    def _settled(self) -> None:
        self._until(self._quiet, "a thread neither waits by the clock nor ends")

    def _until(self, true: Callable[[], bool], complaint: str) -> None:
        for _ in range(round(_LIMIT_S / _LOOK_S)):
            if self._moved.wait_for(true, _LOOK_S):
                return
        raise AssertionError(complaint)


class ManualWakeup:
    """`media.clock.Wakeup` by a `ManualClock`."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._set = False

    def set(self) -> None:
        self._set = True
        self._clock.touch()

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        return self._clock.wait(self, timeout)
