"""A canceller that knows the room: `media.canceller.Canceller` with knobs for what goes wrong."""

import threading

import numpy as np

from intercomd.media.canceller import CancellerError
from intercomd.media.pcm import PERIOD_FRAMES, Pcm


class FakeCanceller:
    """Takes away `gain` times the reference, `delay_frames` late, and nothing else; `working` turns that off."""

    def __init__(self, gain: float = 0.5, delay_frames: int = 2 * PERIOD_FRAMES) -> None:
        self.working = True
        self.failing = False
        """The next call ends it."""
        self.expected_ms: int | None = None
        self.late_frames = 0
        self._gain, self._delay = gain, delay_frames
        self._line: Pcm = np.zeros(delay_frames, np.int16)
        self._closed = False

    def process(self, captured: Pcm, reference: Pcm) -> Pcm:
        for period in (captured, reference):
            if period.shape != (PERIOD_FRAMES,) or period.dtype != np.int16:
                raise ValueError(f"{period.shape} of {period.dtype}: {PERIOD_FRAMES} of int16 are needed")
        if self._closed or self.failing:
            raise CancellerError("the canceller is closed" if self._closed else "the canceller failed")
        self._line = np.concatenate([self._line, reference])
        late, self._line = self._line[:PERIOD_FRAMES], self._line[PERIOD_FRAMES:]
        if not self.working:
            return captured
        left = captured - np.rint(late * self._gain)
        whole: Pcm = left.clip(-32768, 32767).astype(np.int16)
        return whole

    def expect_delay(self, delay_ms: int) -> None:
        self.expected_ms = delay_ms

    def close(self) -> None:
        self._closed = True


class FakeLoading:
    """`media.canceller.LoadCanceller` that takes as long as a test wants, and fails if it is told to."""

    def __init__(self, canceller: FakeCanceller, *, fails: bool = False, held: bool = False) -> None:
        self.go_on = threading.Event()
        """Held loading waits for this."""
        self.asked: dict[str, bool] = {}
        self._canceller, self._fails = canceller, fails
        if not held:
            self.go_on.set()

    def __call__(self, *, echo: bool, noise: bool, gain: bool) -> FakeCanceller:
        self.asked = {"echo": echo, "noise": noise, "gain": gain}
        self.go_on.wait(10)
        if self._fails:
            raise CancellerError("there is none here: install it")
        return self._canceller
