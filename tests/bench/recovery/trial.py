"""One fault in one call: what all sinks played around it, and whose call it was before and after."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from intercomd.media.pcm import Pcm
from tests.bench.ears import Ear
from tests.bench.recovery import stock
from tests.bench.recovery.judge import Hole, Presence, presence
from tests.bench.recovery.laboratory import (
    CALLEE,
    CALLER,
    LOOK_S,
    SINKS,
    STATIONS,
    STOCK_CALLEE,
    STOCK_CALLER,
    Laboratory,
)
from tests.bench.recovery.stock import StockPair
from tests.bench.sounds import Dated
from tests.bench.voices import voice_of

BEFORE_S = 1.5
STEADY_S = 1.5
"""Both connected for so long: it is over."""
GIVEN_UP_S = 25.0
OTHER: Mapping[str, str] = {
    CALLER: CALLEE, CALLEE: CALLER, STOCK_CALLER: STOCK_CALLEE, STOCK_CALLEE: STOCK_CALLER,
}  # fmt: skip
Fault = Callable[["Trial"], Awaitable[None]]


@dataclass(slots=True)
class Trial:
    """`fault_s`: when it began; `since_s`: from when seconds count; `end_s`: when listening ended. Dates by
    CLOCK_MONOTONIC. `pair` is there during the fault only."""

    call_id: str
    pair: StockPair | None = None
    begun_s: float = 0.0
    fault_s: float = 0.0
    since_s: float = 0.0
    end_s: float = 0.0
    call_ids: tuple[str, ...] = ()
    epoch: int = 0
    stock_state: str = ""
    heard: dict[str, Dated] = field(default_factory=dict)
    page: Sequence[Hole] = ()
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def same_call(self) -> bool:
        return set(self.call_ids) == {self.call_id}


@dataclass(frozen=True, slots=True)
class Ground:
    """Where trials are made. `calls` collects the ids of all calls, by scenario."""

    lab: Laboratory
    directory: Path
    calls: dict[str, list[str]] = field(default_factory=dict)

    def over(self, name: str, made: Trial) -> None:
        """For those who wait."""
        took_s = monotonic() - made.begun_s
        same = "the same call" if made.same_call else f"another call: {made.call_ids}"
        print(f"    {name}, call {len(self.calls[name])}: {took_s:.0f} s, {same} in epoch {made.epoch}", flush=True)

    def voice(self, listener: str) -> Pcm:
        """What should be heard there."""
        return voice_of(self.lab, OTHER[listener])


async def trial(
    ground: Ground,
    name: str,
    fault: Fault,
    *,
    beside: bool = False,
    before_s: float = BEFORE_S,
    at_least_s: float = 0.0,
    given_up_s: float = GIVEN_UP_S,
) -> Trial:
    """A call, the fault, and how it goes on. `fault` sets `since_s` when that is not its beginning."""
    lab = ground.lab
    async with AsyncExitStack() as stack:
        pair = await stack.enter_async_context(StockPair(lab)) if beside else None
        made = Trial(await lab.call(), pair)
        ground.calls.setdefault(name, []).append(made.call_id)
        if pair is not None:
            await pair.call()
        ears = {who: Ear(lab.rig, sink) for who, sink in _sinks(beside).items()}
        for ear in ears.values():
            stack.callback(ear.close)
            await asyncio.to_thread(ear.__enter__)
        made.begun_s = monotonic()
        await asyncio.sleep(before_s)
        made.fault_s = made.since_s = monotonic()
        await fault(made)
        await settled(lab, made.since_s + at_least_s, made.since_s + given_up_s)
        made.call_ids = tuple([lab.call_id(await lab.glance(station)) for station in STATIONS])
        status = await lab.glance(CALLER)
        made.epoch = int(status["call"]["epoch"]) if status and status["call"] else 0
        made.end_s = monotonic()
        made.heard = {who: ear.heard() for who, ear in ears.items()}
        made.stock_state, made.pair = pair.media_state if pair else "", None
    ground.over(name, made)
    await lab.quiet()
    return made


async def settled(lab: Laboratory, not_before_s: float, deadline_s: float) -> bool:
    """Whether both are connected, and stay so for a while, before the deadline."""
    unsettled_s = monotonic()
    while monotonic() < deadline_s:
        for name in STATIONS:
            status = await lab.glance(name)
            if status is None or status["phase"] != "connected":
                unsettled_s = monotonic()
        if monotonic() >= max(not_before_s, unsettled_s + STEADY_S):
            return True
        await asyncio.sleep(LOOK_S)
    return False


def presences(ground: Ground, made: Trial) -> dict[str, tuple[Presence, float]]:
    """For each listener where the other one's voice is in the recording, and the recording's beginning."""
    return {who: (presence(ground.voice(who), dated.pcm), dated.began_s) for who, dated in made.heard.items()}


def ends(beside: bool) -> Sequence[str]:
    return tuple(stock.SINKS if beside else SINKS)


def _sinks(beside: bool) -> dict[str, str]:
    return {**SINKS, **stock.SINKS} if beside else dict(SINKS)
