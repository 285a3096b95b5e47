"""Time for the audio threads: they read it and wait on it only here, so that a test can turn the hands itself."""

import threading
import time
from typing import Protocol


class Wakeup(Protocol):
    """What `threading.Event` does; a thread waits for it at most until a time."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Clock(Protocol):
    """A monotonic clock, and wake-ups that wait by it."""

    def now_s(self) -> float: ...
    def wakeup(self) -> Wakeup: ...


class SystemClock:
    """CLOCK_MONOTONIC."""

    def now_s(self) -> float:
        return time.monotonic()

    def wakeup(self) -> Wakeup:
        return threading.Event()
