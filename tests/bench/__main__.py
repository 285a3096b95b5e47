"""`make bench`: measures, prints every figure beside its peer and its target, and writes build/bench/NAME.json.

    python -m tests.bench [NAME | NAME/PART]…

A part alone is written to NAME-PART.json. Exit status 1 if a benchmark is invalid: a miss is a result.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tests.bench import call
from tests.bench.appliance import bench as appliance
from tests.bench.audio import bench as audio
from tests.bench.hub import bench as hub
from tests.bench.load import quiet_machine
from tests.bench.recovery import bench as recovery
from tests.bench.report import OUTPUT, Row, is_valid, table, write
from tests.bench.settings import settings

Benchmark = Callable[[Sequence[str], float], Awaitable[list[Row]]]
BENCHMARKS: Mapping[str, tuple[Benchmark, Sequence[str]]] = {
    "call": (call.call, call.PARTS),
    "audio": (audio.audio, audio.PARTS),
    "recovery": (recovery.recovery, recovery.PARTS),
    "appliance": (appliance.appliance, appliance.PARTS),
    "hub": (hub.hub, hub.PARTS),
}
USUAL = ("call",)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named ones, or the usual ones."""
    known = list(BENCHMARKS) + [f"{name}/{part}" for name, (_, parts) in BENCHMARKS.items() for part in parts]
    parser = argparse.ArgumentParser(prog="make bench", description="Measure; results in build/bench/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: {', '.join(USUAL)}")
    names = parser.parse_args(argv).names or list(USUAL)
    unknown = sorted(set(names) - set(known))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    # Ended by a time limit it puts away what it started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = [_run(name) for name in dict.fromkeys(names)]
    return 0 if all(results) else 1


def _run(name: str) -> bool:
    """Whether it is valid."""
    bench, _, part = name.partition("/")
    measure, parts = BENCHMARKS[bench]
    print(f"{name}\n{settings()}", flush=True)
    began_s = time.monotonic()
    rows = asyncio.run(_measured(measure, [part] if part else parts))
    path = OUTPUT / f"{name.replace('/', '-')}.json"
    write(rows, path)
    told = path.relative_to(OUTPUT.parents[1])
    print(f"\n{table(rows)}\n\n{name}: {time.monotonic() - began_s:.0f} s, written to {told}")
    if not is_valid(rows):
        print(f"{name} is INVALID: these figures are not to be quoted")
    return is_valid(rows)


async def _measured(measure: Benchmark, parts: Sequence[str]) -> list[Row]:
    return await measure(parts, await quiet_machine())


if __name__ == "__main__":
    sys.exit(main())
