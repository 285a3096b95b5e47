"""The benchmark `appliance`: what a container can give is measured; what a whole machine and the image gave when they
were last tested (`make test-vm`, `make test-image`) is taken over from their results."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.appliance.container import container
from tests.bench.load import LoadWatch
from tests.bench.report import Peer, Row, broken, invalid, row
from tests.capabilities import missing
from tests.nspawn.machine import MachineError

BUILD = Path(__file__).parents[3] / "build"
CONTAINER = "container"
ELSEWHERE = {"vm": "make test-vm", "image": "make test-image"}
"""Where results.json of INTERFACES.md lies, below build/, and what makes it."""
PARTS = (CONTAINER, *ELSEWHERE)
MAX_LAG_S = 0.05
"""Nothing shorter than a tenth of a second is measured from here: systemd's own stamps are."""


async def appliance(wanted: Sequence[str], load_before: float) -> list[Row]:
    """The rows of these parts; one that cannot be measured gives a row that says so."""
    rows = await _container(load_before) if CONTAINER in wanted else []
    return [*rows, *(found for part in ELSEWHERE if part in wanted for found in figures(part))]


async def _container(load_before: float) -> list[Row]:
    lacking = missing("nspawn")
    if lacking:
        return [broken(CONTAINER, lacking)]
    try:
        async with LoadWatch(load_before) as watch:
            rows = await asyncio.to_thread(container)
    except (MachineError, subprocess.SubprocessError, OSError, SystemExit) as error:
        return [broken(CONTAINER, str(error))]
    print(f"    {watch.load}")
    complaints = watch.load.complaints(MAX_LAG_S)
    return invalid(rows, "; ".join(complaints)) if complaints else rows


def figures(part: str, build: Path = BUILD) -> list[Row]:
    """The figures of the part's last run, with its age; none where it has not run here."""
    file = build / part / "results.json"
    try:
        found = json.loads(file.read_text())["checks"]
    except FileNotFoundError:
        print(f"    {part}: no figures; `{ELSEWHERE[part]}` makes them")
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [broken(part, f"{file}: {error}")]
    hours = (time.time() - os.stat(file).st_mtime) / 3600
    peer = Peer(None, reason=f"by `{ELSEWHERE[part]}`, {hours:.1f} hours before")
    return [
        row(f"{part}: {one['name']}", float(one["value"]), str(one.get("unit") or ""), peer)
        for one in found
        if one.get("kind") == "figure" and isinstance(one.get("value"), int | float)
    ]
