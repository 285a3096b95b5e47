"""A thousand calls between two real stations, and what they leave behind in each: daemons, hub, peer connections,
sockets on loopback, sound through the private sound server. Beside them stock aiortc's peer connections, opened and
closed as often in a process of their own.

Left out, because they take time and leave nothing: buttons (the control socket calls, answers and hangs up; a button's
debounce alone would cost 0.3 s a call) and pauses between the calls. Each call is over when both ends have heard the
other one's voice. Memory is looked at when a station has been left in peace for half a second, as after any call.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from intercomd.demo.control import Control, ControlError
from intercomd.demo.house import House
from tests.bench.audio.measured import Measured
from tests.bench.footprint import footprint
from tests.bench.programs import Program, module
from tests.bench.report import Peer, Row, row
from tests.bench.voices import speaking

CALLS: Final = 1000
EVERY: Final = 20
FIRST: Final = 100
"""By then everything that is made once has been made."""
PEACE_S: Final = 0.45
"""A connection is closed within 0.1 s of a call's end, and swept up 0.25 s after it."""
LOOK_S: Final = 0.008
CALL_LIMIT_S: Final = 10.0
LIMIT_S: Final = 235.0
"""On a machine that is slower, or not quiet, fewer calls are made, and the rows say how many."""
REFUSED_S: Final = 0.3
RSS_PERCENT: Final = 1.0
CALLER, CALLEE = ENDS = ("door", "flat")
STOCK: Final = "stock aiortc"
MB: Final = 1e6
COUNTED: Final = ("threads", "fds", "tasks", "objects")

Figures = Mapping[str, int]
Series = dict[str, list[Figures]]
"""By whose they are, after each `EVERY` calls."""


class Unanswered(Exception):
    """A call did not come about."""


async def growth(calls: int = CALLS) -> Measured:
    """Takes about 4 minutes."""
    series: Series = {name: [] for name in (*ENDS, STOCK)}
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intercomd-bench-")))
        house = await stack.enter_async_context(House())
        for station in house.stations:
            house.cards.hush(station.name)
        plain = await stack.enter_async_context(Program(module("tests.bench.audio.plain_calls"), {}))
        stack.enter_context(speaking(house, home, ENDS))
        controls = [await stack.enter_async_context(Control(house.household.station(name).control)) for name in ENDS]
        began_s = time.monotonic()
        for number in range(1, calls + 1):
            if number % EVERY == 1 and number > 2 * FIRST and time.monotonic() - began_s > LIMIT_S:
                break
            if number % EVERY == 1:  # side by side with ours: neither is timed
                plain.tell({"calls": EVERY})
            try:
                await one_call(*controls)
            except Unanswered as error:
                said = "; ".join(f"{line.source}: {line.message}" for line in tuple(house.journal.lines())[-6:])
                raise Unanswered(f"call {number}: {error}. Last in the journal: {said}") from error
            if number % EVERY == 0:
                await asyncio.sleep(PEACE_S)
                for name, control in zip(ENDS, controls, strict=True):
                    series[name].append(_figures(house, name, await _status(control)))
                series[STOCK].append(await plain.says())
                if number % FIRST == 0:
                    print(f"    call {number} of {calls}: {_told(series)}", flush=True)
        took_s = time.monotonic() - began_s
    return Measured(rows_of(series, took_s / (len(series[STOCK]) * EVERY)), {"calls_between": EVERY, "after": series})


# ------------------------------------------------------------------------------------------------------- one call


async def one_call(caller: Control, callee: Control) -> None:
    """Raises `Unanswered`."""
    try:
        async with asyncio.timeout(CALL_LIMIT_S):
            await caller.ask({"command": "call", "peer": CALLEE})
            answered_ns = await _answer(caller, callee)
            await _both(caller, callee, lambda status: _first_voice_ns(status) > answered_ns)
            await caller.ask({"command": "hangup"})
            await _both(caller, callee, lambda status: status["phase"] == "idle")
    except (TimeoutError, ControlError) as error:
        stand = "; ".join([f"{end['name']}: {end['phase']}, error {end['error']}"
                           for end in (await _status(caller), await _status(callee))])  # fmt: skip
        raise Unanswered(f"a call did not come to its end within {CALL_LIMIT_S:g} s ({error}): {stand}") from error


async def _answer(caller: Control, callee: Control) -> int:
    """As soon as it rings; when that was. The hub takes 20 requests of a station a second (`hub/limits.py`) and refuses
    a call beyond that, which then is placed again."""
    looked_s = time.monotonic()
    while True:
        now_ns = time.monotonic_ns()
        try:
            await callee.ask({"command": "answer"})
        except ControlError:  # nothing rings there yet
            await asyncio.sleep(LOOK_S)
        else:
            return now_ns
        if time.monotonic() - looked_s > REFUSED_S:
            looked_s = time.monotonic()
            if (await _status(caller))["call"] is None:
                await caller.ask({"command": "call", "peer": CALLEE})


async def _both(caller: Control, callee: Control, so: Callable[[dict[str, Any]], bool]) -> None:
    for control in (caller, callee):
        while not so(await _status(control)):
            await asyncio.sleep(LOOK_S)


async def _status(control: Control) -> dict[str, Any]:
    status: dict[str, Any] = (await control.ask({"command": "status"}))["status"]
    return status


def _first_voice_ns(status: dict[str, Any]) -> int:
    return int(status["audio"]["playout"]["first_voice_t_ns"] or 0)


# -------------------------------------------------------------------------------------------------------- figures


def _figures(house: House, name: str, status: dict[str, Any]) -> Figures:
    pid = house.supervisor.view(name).pid
    if pid is None:
        raise Unanswered(f"the station {name} is gone")
    return {**status["process"], "pss_bytes": footprint(pid).pss_bytes}


def _told(series: Series) -> str:
    return "; ".join(f"{name} {figures[-1]['rss_bytes'] / MB:.1f} MB" for name, figures in series.items())


def rows_of(series: Mapping[str, Sequence[Figures]], call_s: float) -> list[Row]:
    """From call `FIRST` to the last one."""
    first, last = FIRST // EVERY - 1, -1
    calls = len(series[CALLER]) * EVERY
    plain = series[STOCK]
    rows = []
    for name in ENDS:
        before, after = series[name][first], series[name][last]
        what = f"{name}, call {FIRST} → {calls}"
        theirs_mb = [plain[at]["rss_bytes"] / MB for at in (first, last)]
        told = (
            f"{before['rss_bytes'] / MB:.2f} → {after['rss_bytes'] / MB:.2f} MB, {call_s * 1000:.0f} ms a call; "
            f"the peer: {theirs_mb[0]:.2f} → {theirs_mb[1]:.2f} MB, both ends in one process, without a card"
        )
        peer = Peer(STOCK, _percent(plain[first], plain[last]))
        rows.append(row(f"{what}: RSS", _percent(before, after), "%", peer, at_most=RSS_PERCENT, reason=told))
        for kind in COUNTED:
            theirs = Peer(STOCK, plain[last][kind] - plain[first][kind])
            rows.append(
                row(f"{what}: {kind}", after[kind] - before[kind], "more", theirs,
                    at_most=_OBJECTS if kind == "objects" else 0, reason=f"{before[kind]} → {after[kind]}")
            )  # fmt: skip
    return rows


_OBJECTS: Final = 0.2 * (CALLS - FIRST)
"""Less than one of five calls leaves one: those of the moment, a timer or a weak reference, come and go."""


def _percent(before: Figures, after: Figures) -> float:
    return (after["rss_bytes"] / before["rss_bytes"] - 1) * 100
