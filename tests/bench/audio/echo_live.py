"""A real call with a real echo: the flat's loudspeaker is led back into its microphone, through the sound server.

    python -m tests.bench.audio.echo_live [livekit | half-duplex | none]

The door speaks, then both do; what the door's loudspeaker plays is recorded, and the flat's status read.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from intercomd.demo.house import House
from intercomd.demo.listen import find, read_raw, read_wav
from intercomd.demo.sound import sentence
from intercomd.media.pcm import RATE_HZ, Pcm

SINGLE_S: Final = 15.0
DOUBLE_S: Final = 15.0
LIMIT_S: Final = 15.0
AIR_MS: Final = 40


@dataclass(frozen=True, slots=True)
class Live:
    """What came of the call: the flat's status while only the door spoke and while both did; the level, in dBFS, of
    what the door heard of itself; how well the flat was heard in double talk (`listen.find`)."""

    single: dict[str, Any]
    double: dict[str, Any]
    returned_dbfs: float
    heard: float


async def live(engine: str, directory: Path, single_s: float = SINGLE_S, double_s: float = DOUBLE_S) -> Live:
    """A call with `engine` at both stations."""
    async with House(changed={"audio": {"processing": engine, "default_route": "speaker"}}, pause_s=0.3) as house:
        for station in house.stations:
            house.cards.hush(station.name)
        house.rig._control(
            "load-module", "module-loopback", "source=flat_spk.monitor", "sink=flat_mic", f"latency_msec={AIR_MS}"
        )
        await _call(house)
        house.cards.speak("door")
        await asyncio.sleep(3.0)
        with house.rig.record("door_spk", directory / "returned.raw"):
            await asyncio.sleep(single_s)
        single = await house.status("flat")
        house.cards.speak("flat")
        with house.rig.record("door_spk", directory / "both.raw"):
            await asyncio.sleep(double_s)
        double = await house.status("flat")
        await house.ask("door", "hangup")
        said = read_wav(sentence(house.rig.stations.index("flat")))
    match = find(said, read_raw(directory / "both.raw"))
    return Live(single, double, _level(read_raw(directory / "returned.raw")), match.correlation)


async def _call(house: House) -> None:
    await house.ask("door", "call", peer="flat")
    await _until(house, lambda: _is_in(house, "flat", "ringing"))
    await house.ask("flat", "answer")
    await _until(house, lambda: _is_in(house, "flat", "connected"))


async def _until(house: House, true: Callable[[], Awaitable[bool]]) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not await true():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the call does not come up")
        await asyncio.sleep(0.05)


async def _is_in(house: House, station: str, phase: str) -> bool:
    return bool((await house.status(station))["phase"] == phase)


def _level(sound: Pcm) -> float:
    wave = sound[RATE_HZ:].astype(float)
    return float(10 * np.log10(np.mean(wave**2) / 32768.0**2 + 1e-12))


def main() -> int:
    engine = sys.argv[1] if len(sys.argv) > 1 else "livekit"
    with tempfile.TemporaryDirectory(prefix="intercomd-echo-") as directory:
        result = asyncio.run(live(engine, Path(directory)))
    for name, status in (("single talk", result.single), ("double talk", result.double)):
        print(name, status["audio"], {key: status["process"][key] for key in ("rss_bytes", "threads")})
    print(
        f"{engine}: the door hears itself at {result.returned_dbfs:.1f} dBFS; the flat while both speak: {result.heard}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
