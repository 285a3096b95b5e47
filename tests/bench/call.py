"""The benchmark `call`: everything about a call between two stations of one house, part by part."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from intercomd.demo.control import ControlError
from intercomd.demo.house import House, HouseError
from intercomd.demo.sound import SoundError
from tests.bench.calls import calls
from tests.bench.contenders import STOCK, Scene
from tests.bench.ears import EarError
from tests.bench.hands import Late
from tests.bench.load import LoadWatch
from tests.bench.mouth_to_ear import Unheard, mouth_to_ear
from tests.bench.processing import processing
from tests.bench.programs import ProgramError
from tests.bench.report import Row, broken, invalid
from tests.bench.restore import restore
from tests.bench.starts import starts

PARTS = ("starts", "mouth-to-ear", "processing", "calls", "restore")
PART_LIMIT_S = 400.0

Part = Callable[[], Awaitable[Callable[[], list[Row]]]]


async def call(wanted: Sequence[str], load_before: float) -> list[Row]:
    """The rows of these parts; a part that breaks gives one row that says so, and the others go on."""
    try:
        with tempfile.TemporaryDirectory(prefix="intercomd-bench-") as home:
            async with House() as house:
                for station in house.stations:
                    house.cards.hush(station.name)
                return await _parts(house, Path(home), wanted, load_before)
    except (HouseError, SoundError) as error:
        return [broken("the house", str(error))]


async def _parts(house: House, directory: Path, wanted: Sequence[str], load_before: float) -> list[Row]:
    scene = Scene(house, directory)
    parts: dict[str, Part] = {
        "starts": lambda: starts(house),
        "mouth-to-ear": lambda: mouth_to_ear(scene),
        "processing": lambda: processing(directory),
        "calls": lambda: calls(house, directory, scene.answer_s[STOCK]),
        "restore": lambda: restore(house, directory),
    }
    rows: list[Row] = []
    for name in PARTS:
        if name in wanted:
            print(f"  {name}", flush=True)
            rows += await _part(name, parts[name], LoadWatch(load_before))
    return rows


async def _part(name: str, measure: Part, watch: LoadWatch) -> list[Row]:
    """Measured under watch; reckoned when the watch is over."""
    try:
        async with watch, asyncio.timeout(PART_LIMIT_S):
            reckon = await measure()
        rows = await asyncio.to_thread(reckon)
    except TimeoutError:
        return [broken(name, f"not over within {PART_LIMIT_S:g} s")]
    except (Late, Unheard, EarError, ProgramError, ControlError, SoundError, HouseError, ValueError) as error:
        return [broken(name, str(error))]
    print(f"    {name}: {watch.load}", flush=True)
    complaints = watch.load.complaints()
    return invalid(rows, "; ".join(complaints)) if complaints else rows
