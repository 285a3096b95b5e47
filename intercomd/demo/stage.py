"""What the scripted run does and sees: presses buttons through the pins, waits for phases, and has what the stations
play recorded and judged by other processes."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intercomd.demo.checks import Findings
from intercomd.demo.control import ControlError
from intercomd.demo.edges import Edge, Edges
from intercomd.demo.house import House
from intercomd.demo.sound import sentence

PRESS_S = 0.08
"""Longer than the debounce of 50 ms, shorter than anybody's."""
LOOK_S = 0.02
PHASE_LIMIT_S = 15.0
EDGE_LIMIT_S = 5.0
JUDGE_LIMIT_S = 30.0
FRAME_RATE_HZ = 48_000
FRAME_BYTES = 2

Status = dict[str, Any]


class Late(Exception):
    """Something did not come in time; the text says what, and how things stood instead."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who should be heard in which sink."""

    speaker: str
    sink: str


@dataclass(frozen=True, slots=True)
class Expected:
    """The one record that the hub must have of a call."""

    call_id: str
    what: str
    outcome: str
    reason: str


class Stage:
    """One household, its findings, and the verbs of the scenes."""

    def __init__(self, house: House, findings: Findings, edges: Edges) -> None:
        self.house = house
        self.findings = findings
        self.edges = edges
        self.expected: list[Expected] = []
        self._recordings = house.household.root / "recordings"
        self._recordings.mkdir(mode=0o700)
        self._recorded = 0

    # ---- hands

    async def press(self, station: str, button: str) -> Edge:
        """Press and release; returns the edge of the press as the station saw it."""
        since = len(self.edges.seen)
        await self.house.ask(station, "drive", button=button, pressed=True)
        await asyncio.sleep(PRESS_S)
        await self.house.ask(station, "drive", button=button, pressed=False)
        await asyncio.sleep(PRESS_S)
        pressed = [
            edge for edge in self.edges.seen[since:] if (edge.station, edge.line, edge.value) == (station, button, True)
        ]
        if not pressed:
            raise Late(f"{station}'s button {button} was pressed, and its pin gave no edge")
        return pressed[0]

    async def quiet(self) -> None:
        """Everybody hangs up, until all are idle and show no error."""
        for station in self.house.stations:
            for _ in range(2):  # the first may end a call, the second acknowledge its failure
                status = await self.see(station.name, "answers its control socket", lambda _: True)
                if status["phase"] != "idle" or status["error"]:
                    await self.press(station.name, "hangup")
            await self.see(
                station.name, "is idle", lambda status: status["phase"] == "idle" and status["error"] is None
            )

    # ---- eyes

    async def see(
        self, station: str, what: str, so: Callable[[Status], bool], limit_s: float = PHASE_LIMIT_S
    ) -> Status:
        """Poll the station's status until it is so. A daemon that is away is waited for. Raises `Late`."""
        deadline_s = time.monotonic() + limit_s
        status: Status | None = None
        while time.monotonic() < deadline_s:
            try:
                status = await self.house.status(station)
            except ControlError:
                status = None
            if status is not None and so(status):
                return status
            await asyncio.sleep(LOOK_S)
        raise Late(f"{station} {what}: not within {limit_s:g} s; it shows {_shown(status)}")

    async def phase(self, station: str, phase: str, limit_s: float = PHASE_LIMIT_S) -> Status:
        return await self.see(station, f"shows {phase}", lambda status: status["phase"] == phase, limit_s)

    async def edge_after(self, cause: Edge, station: str, line: str) -> float:
        """Milliseconds from an edge to the next rising one of another line. Raises `Late`."""
        try:
            edge = await self.edges.first(
                lambda edge: (
                    (edge.station, edge.line, edge.value) == (station, line, True) and edge.at_ns >= cause.at_ns
                ),
                EDGE_LIMIT_S,
            )
        except TimeoutError:
            raise Late(f"{station}'s line {line} did not rise within {EDGE_LIMIT_S:g} s") from None
        return (edge.at_ns - cause.at_ns) / 1e6

    # ---- ears: recorded and judged outside the stations and outside this process

    @asynccontextmanager
    async def recording(self, sinks: Sequence[str]) -> AsyncIterator[list[Path]]:
        """Record what these sinks play while the block runs."""
        paths = [self._recordings / f"{self._next()}-{sink}.raw" for sink in sinks]
        async with AsyncExitStack() as stack:
            for sink, path in zip(sinks, paths, strict=True):
                child = await asyncio.to_thread(self.house.rig.record, sink, path)
                stack.callback(child.close)
            yield paths

    async def hear(self, hearings: Sequence[Hearing], seconds_s: float) -> list[float]:
        """Record for so long; the correlation of each speaker with what the sink played."""
        async with self.recording([hearing.sink for hearing in hearings]) as paths:
            await asyncio.sleep(seconds_s)
        return [await self.judge(hearing.speaker, path) for hearing, path in zip(hearings, paths, strict=True)]

    async def judge(self, speaker: str, recorded: Path) -> float:
        """The correlation, by `demo.listen` in a process of its own."""
        said = await _witness("listen", str(self.voice(speaker)), str(recorded))
        return float(said["correlation"])

    async def returns_s(self, speaker: str, recorded: Path, after_s: float) -> float | None:
        """When the voice is back, by `demo.returning` in a process of its own."""
        said = await _witness("returning", str(self.voice(speaker)), str(recorded), "--after", f"{after_s:.3f}")
        found_s: float | None = said["returns_s"]
        return found_s

    def voice(self, station: str) -> Path:
        return sentence(self.house.rig.stations.index(station))

    def cut(self, recorded: Path, from_s: float) -> Path:
        """The rest of a recording."""
        path = self._recordings / f"{self._next()}-{recorded.stem}-rest.raw"
        path.write_bytes(recorded.read_bytes()[round(from_s * FRAME_RATE_HZ) * FRAME_BYTES :])
        return path

    def _next(self) -> int:
        self._recorded += 1
        return self._recorded


def length_s(recorded: Path) -> float:
    """How much is recorded by now."""
    return recorded.stat().st_size / FRAME_BYTES / FRAME_RATE_HZ


def _shown(status: Status | None) -> str:
    if status is None:
        return "nothing (no daemon)"
    error = f", error {status['error']['code']}" if status["error"] else ""
    return f"{status['phase']}, card {status['audio']['card']}, link {status['link']['state']}{error}"


async def _witness(module: str, *arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"intercomd.demo.{module}", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(JUDGE_LIMIT_S):
            output, errors = await process.communicate()
    except BaseException:  # cancelled too: the witness is not left running
        process.kill()
        await process.wait()
        raise
    if process.returncode not in (0, 1):
        raise Late(f"demo.{module} could not judge: {errors.decode(errors='replace').strip()}")
    said: dict[str, Any] = json.loads(output)
    return said
