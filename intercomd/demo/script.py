"""`make demo SCRIPTED=1`: the household goes through everything without a person, and every claim is checked."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from intercomd.demo.checks import Findings
from intercomd.demo.control import ControlError
from intercomd.demo.edges import Edges
from intercomd.demo.house import House
from intercomd.demo.page_scene import PAGE_SCENE
from intercomd.demo.scenes import SCENES, Scene
from intercomd.demo.sound import SoundError
from intercomd.demo.stage import Late, Stage
from intercomd.hub.storage.database import Database, call_records

RING_TIMEOUT_S = 5.0
PAUSE_S = 0.4
"""Between two sentences; each is a moment in which a restored call could not be heard."""
START_TARGET_S = 2.0
FOLLOW_LIMIT_S = 5.0
QUIET_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Record:
    call_id: str
    outcome: str
    reason: str


async def run_script(json_file: Path | None, keep: bool) -> bool:
    """True if every check passed. Raises `HouseError` or `SoundError` when the household does not come up."""
    findings = Findings()
    findings.say("a hub, a door, a flat and a kitchen start")
    began_s = time.monotonic()
    async with House(ring_timeout_s=RING_TIMEOUT_S, pause_s=PAUSE_S, keep=keep) as house:
        findings.check("hub and stations are up: registered, sound cards open", True)
        findings.figure("start of the whole household", time.monotonic() - began_s, "s")
        _start_figures(house, findings)
        async with Edges(house.stations) as edges:
            await edges.following(FOLLOW_LIMIT_S)
            stage = Stage(house, findings, edges)
            is_quiet = True
            for title, scene, limit_s in (*SCENES, PAGE_SCENE):
                if is_quiet:
                    is_quiet = await _play(stage, title, scene, limit_s)
                else:
                    findings.check(title, False, "not tried: the household is not as it must be")
            await _records(stage)
        if keep:
            findings.say(f"kept: {house.household.root}")
    print(f"\n{findings.table()}\n\n{findings.json()}", flush=True)
    if json_file is not None:
        findings.write(json_file)
    return findings.ok


def _start_figures(house: House, findings: Findings) -> None:
    for line in house.journal.lines():
        if line.fields.get("ERROR_CODE") == "STATION_READY":
            taken_s = float(line.fields.get("START_S", "nan"))
            findings.figure(f"{line.source}: process start → ready", taken_s, "s", at_most=START_TARGET_S)


async def _play(stage: Stage, title: str, scene: Scene, limit_s: float) -> bool:
    """One scene within its limit. What goes wrong in it is a failed check. True if the next one can begin: everybody is
    idle again."""
    stage.findings.say(title)
    try:
        async with asyncio.timeout(limit_s):
            await scene(stage)
    except TimeoutError:
        stage.findings.check(title, False, f"not over within {limit_s:g} s")
    except (Late, ControlError, SoundError) as error:
        stage.findings.check(title, False, str(error))
    try:
        async with asyncio.timeout(QUIET_LIMIT_S):
            await stage.quiet()
    except (Late, ControlError, TimeoutError) as error:
        return stage.findings.check(f"everybody is idle after {title}", False, str(error))
    return True


async def _records(stage: Stage) -> None:
    """The hub has one record of each call, and of nothing else."""
    await stage.house.stop_hub()
    rows = await _read_records(stage.house.household.hub_database)
    for expected in stage.expected:
        found = [(row.outcome, row.reason) for row in rows if row.call_id == expected.call_id]
        told = ", ".join(f"{outcome} ({reason})" for outcome, reason in found) or "none"
        stage.findings.check(
            f"the hub's record of {expected.what}", found == [(expected.outcome, expected.reason)], told
        )
    others = len(rows) - len(stage.expected)
    stage.findings.check("the hub has no other records", others == 0, len(rows), "records", f"= {len(stage.expected)}")


async def _read_records(path: Path) -> Sequence[_Record]:
    database = Database(f"sqlite+aiosqlite:///{path}")
    await database.open()
    try:
        async with database.transaction() as connection:
            columns = sa.select(call_records.c.call_id, call_records.c.outcome, call_records.c.reason)
            rows = (await connection.execute(columns)).all()
        return [_Record(row.call_id, row.outcome, row.reason) for row in rows]
    finally:
        await database.close()
