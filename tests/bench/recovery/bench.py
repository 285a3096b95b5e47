"""The benchmark `recovery`: each scenario under watch in one laboratory; reckoned when the hub has told its records."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

from intercomd.demo.control import ControlError
from intercomd.demo.house import HouseError
from intercomd.demo.resident import PageError
from intercomd.demo.script import _read_records
from intercomd.demo.sound import SoundError
from tests.bench.ears import EarError
from tests.bench.hands import Late
from tests.bench.load import LoadWatch
from tests.bench.programs import ProgramError
from tests.bench.recovery.kills import kills, limit_s
from tests.bench.recovery.laboratory import STATIONS, STOCK_CALLEE, STOCK_CALLER, Laboratory
from tests.bench.recovery.rows import ROWS, Records
from tests.bench.recovery.scenarios import SCENARIOS, Scenario
from tests.bench.recovery.trial import Ground
from tests.bench.report import Row, broken, invalid
from tests.bench.voices import speaking
from tests.netns.laboratory import LaboratoryError, lacking

KILLS = "kills"
PARTS = (*SCENARIOS, KILLS)
PART_LIMIT_S = 300.0
MAX_LAG_S = 0.05
"""Voices are dated by the ears' own threads; a fault that comes so late is dated when it comes."""
Reckon = Callable[[Records], list[Row]]
_FAULTS = (Late, PageError, EarError, ProgramError, ControlError, SoundError, HouseError, LaboratoryError, ValueError)


async def recovery(wanted: Sequence[str], load_before: float) -> list[Row]:
    """The rows of these parts; a part that breaks gives one row that says so, and the others go on."""
    scenarios = [name for name in SCENARIOS if name in wanted]
    rows = await _in_the_laboratory(scenarios, load_before) if scenarios else []
    return [*rows, *(await _random_kills() if KILLS in wanted else [])]


async def _in_the_laboratory(wanted: Sequence[str], load_before: float) -> list[Row]:
    reason = lacking()
    if reason is not None:
        return [broken("the laboratory", reason)]
    try:
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intercomd-bench-")))
            lab = await stack.enter_async_context(Laboratory())
            stack.enter_context(speaking(lab, directory, (*STATIONS, STOCK_CALLER, STOCK_CALLEE)))
            ground = Ground(lab, directory)
            reckonings = [await _part(name, SCENARIOS[name], ground, load_before) for name in wanted]
            await lab.stop_hub()
            records = Counter(record.call_id for record in await _read_records(lab.household.hub_database))
            return [row for reckon in reckonings for row in await asyncio.to_thread(reckon, records)]
    except (HouseError, SoundError, LaboratoryError, ProgramError) as error:
        return [broken("the laboratory", str(error))]


async def _random_kills() -> list[Row]:
    """What they find does not depend on how busy the machine is."""
    print(f"  {KILLS}", flush=True)
    try:
        async with asyncio.timeout(limit_s()):
            return await kills()
    except TimeoutError:
        return [broken(KILLS, f"not over within {limit_s():g} s")]
    except (*_FAULTS, ExceptionGroup) as error:
        causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
        return [broken(KILLS, "; ".join(map(str, causes)))]


async def _part(name: str, scenario: Scenario, ground: Ground, load_before: float) -> Reckon:
    """Made under watch; what it says is reckoned later."""
    watch, began_s = LoadWatch(load_before), monotonic()
    try:
        async with watch, asyncio.timeout(PART_LIMIT_S):
            await ground.lab.quiet()  # a part that broke may have left a call
            trials = await scenario(ground)
    except (*_FAULTS, TimeoutError) as error:
        why = str(error) or f"not over within {PART_LIMIT_S:g} s"
        print(f"  {name}: broke: {why}", flush=True)
        return lambda _: [broken(name, why)]
    print(f"  {name}: {monotonic() - began_s:.0f} s; {watch.load}", flush=True)
    title, rows = ROWS[name]
    complaints = "; ".join(watch.load.complaints(MAX_LAG_S))

    def reckon(records: Records) -> list[Row]:
        found = rows(title, ground, trials, records)
        return invalid(found, complaints) if complaints else found

    return reckon
