"""The benchmark `appliance`: what a container can give is measured; what a whole machine and the image gave when they
were last tested (`make test-vm`, `make test-image`) is taken over from their results."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Sequence
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
WANTED = {
    "vm": (
        "boot to both stations ready, first time",
        "power cut: in the call again after both stations were ready",
        "power cut: from the kernel's start to the call",
    ),
    "image": ("packed", "on the card", "built, the tree of Debian was kept|built, with the tree of Debian"),
}
"""What issue and design ask for, by the names that these runs give, or one of two: told too where a run lacks it."""
MEASURED = ("intercomd", "systemd", "hw")
"""A commit to these after a run makes its figures older than what they measured."""
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


def commits_since(since_s: float) -> int:
    """0 without git or a repository, too: then the age alone tells."""
    command = ["git", "-c", f"safe.directory={BUILD.parent}", "log", "--format=%h", f"--since=@{int(since_s)}", "--"]
    try:
        done = subprocess.run(
            [*command, *MEASURED], cwd=BUILD.parent, capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return 0
    return len(done.stdout.split())


def figures(part: str, build: Path = BUILD, commits: Callable[[float], int] = commits_since) -> list[Row]:
    """The figures of the part's last run, with its age and what it failed at; and for each one of `WANTED` that it
    lacks a row without a figure, which says how to get it. No targets: those are the part's own to judge."""
    file = build / part / "results.json"
    try:
        checks = json.loads(file.read_text())["checks"]
        found = [one for one in checks if _is_figure(part, one)]
        failed = sum(one["kind"] == "check" and not one["ok"] for one in checks)
    except FileNotFoundError:
        print(f"    {part}: no figures; `{ELSEWHERE[part]}` makes them")
        return _absent(part, WANTED[part], "it has not run here")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [broken(part, f"{file}: {error}")]
    said = "; ".join(filter(None, (_age(part, build, commits), f"{failed} of its checks FAILED" if failed else "")))
    print(f"    {part}: {said}")
    peer = Peer(None, reason=said)
    rows = [row(f"{part}: {one['name']}", float(one["value"]), str(one.get("unit") or ""), peer) for one in found]
    names = {one["name"] for one in found}
    return [
        *rows,
        *_absent(part, [one for one in WANTED[part] if names.isdisjoint(one.split("|"))], "its run lacks it"),
    ]


def _is_figure(part: str, one: dict[str, object]) -> bool:
    """Also a check's value, where it is a figure that is wanted; but not how long the tests took."""
    value, name = one.get("value"), str(one["name"])
    wanted = one["kind"] == "figure" and not name.startswith("wall time of")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (wanted or any(name in names.split("|") for names in WANTED[part]))


def _absent(part: str, names: Sequence[str], why: str) -> list[Row]:
    reason = f"no figure: {why}; `{ELSEWHERE[part]}` makes it"
    return [Row(f"{part}: {name.split('|')[0]}", None, None, None, "", "", None, reason) for name in names]


def _age(part: str, build: Path, commits: Callable[[float], int]) -> str:
    """When it ran, by its oldest scene: each keeps the results of its own last run."""
    files = [build / part / "results.json", *build.joinpath(part, "scenes").glob("*.json")]
    ran_s = min(file.stat().st_mtime for file in files)
    said = f"by `{ELSEWHERE[part]}`, {(time.time() - ran_s) / 3600:.1f} hours before"
    since = commits(ran_s)
    return f"{said}; STALE: {since} commits since to what it measures ({', '.join(MEASURED)})" if since else said
