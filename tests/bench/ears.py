"""Recordings whose every frame has a date: what a sink of the rig played, and when (CLOCK_MONOTONIC).

A null sink's clock is the machine's own, so frame n was played at a constant plus n / 48000 s. Pieces of the recording
come late by this or that; the constant is taken from the one that came earliest. What is left of it is the server's own
lead or delay: the same for everything that is measured in one rig.
"""

import os
import subprocess
import threading
import time
from types import TracebackType
from typing import Self

import numpy as np

from intercomd.demo.sound import SoundRig
from intercomd.media.pcm import RATE_HZ
from tests.bench.sounds import Dated

LATENCY_MS = 10
START_LIMIT_S = 5.0
_FRAME_BYTES = 2


class EarError(Exception):
    """Nothing can be recorded."""


class Ear:
    """`with Ear(rig, "flat_spk") as ear: … ear.heard()`. It records when `__enter__` returns."""

    def __init__(self, rig: SoundRig, sink: str) -> None:
        self._sink = sink
        self._env = {**os.environ, **rig.env}
        self._rank = rig.rank
        self._pieces: list[tuple[float, bytes]] = []
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ear {sink}", daemon=True)
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        shape = ["--raw", f"--rate={RATE_HZ}", "--channels=1", "--format=s16le", f"--latency-msec={LATENCY_MS}"]
        self._process = subprocess.Popen(
            [*self._rank, "pacat", "-r", "-d", f"{self._sink}.monitor", *shape],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._thread.start()
        if not self._begun.wait(START_LIMIT_S):
            self.close()
            raise EarError(f"nothing is recorded from {self._sink} within {START_LIMIT_S} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent; what was heard stays."""
        if not self._thread.ident:
            return
        self._process.kill()
        self._thread.join()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def heard(self) -> Dated:
        """Everything so far."""
        pieces = tuple(self._pieces)
        ends = np.cumsum([len(piece) for _, piece in pieces]) / _FRAME_BYTES / RATE_HZ
        began_s = min(came_s - end_s for (came_s, _), end_s in zip(pieces, ends, strict=True))
        raw = b"".join(piece for _, piece in pieces)
        return Dated(np.frombuffer(raw[: len(raw) // _FRAME_BYTES * _FRAME_BYTES], np.int16), float(began_s))

    def _run(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while piece := os.read(descriptor, 1 << 16):
            self._pieces.append((time.monotonic(), piece))
            self._begun.set()
