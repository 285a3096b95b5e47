"""Two hundred calls in a row: how fast each rings and is heard, and what they leave behind."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from intercomd.demo.house import House
from tests.bench.hands import Answered, hands
from tests.bench.report import Peer, Row, row
from tests.bench.sounds import percentile
from tests.bench.voices import speaking

CALLS = 200
FIRST = 20
"""By then everything that is made once has been made."""
SETTLED_S = 3.0
"""A connection that closes in the background is gone after 2 s at the latest, and its memory swept after 2.5 s."""
CALLER, CALLEE = ENDS = ("door", "flat")
RING_MS, HEARD_MS, GROWTH_PERCENT = 50.0, 250.0, 1.0
NO_PEER = "no other product with pins and LEDs can run here"

Figures = Mapping[str, int]


async def calls(house: House, directory: Path, stock_answer_s: Sequence[float]) -> Callable[[], list[Row]]:
    """`stock_answer_s`: what stock aiortc took from the order to call to the first voice at both ends."""
    answered: list[Answered] = []
    figures: dict[int, dict[str, Figures]] = {}
    with speaking(house, directory, ENDS):
        async with hands(house, ENDS) as people:
            for number in range(1, CALLS + 1):
                answered.append(await people.call(CALLER, CALLEE))
                await people.hang_up(CALLER, ENDS)
                if number in (FIRST, CALLS // 2, CALLS):
                    figures[number] = await _settled(house)
                    print(f"    call {number} of {CALLS}: {_told(figures[number])}", flush=True)
    return lambda: [*_time_rows(answered, stock_answer_s), *_growth_rows(figures)]


async def _settled(house: House) -> dict[str, Figures]:
    """Of both, idle, everything of the last call closed."""
    await asyncio.sleep(SETTLED_S)
    return {name: (await house.status(name))["process"] for name in ENDS}


def _told(figures: Mapping[str, Figures]) -> str:
    return "; ".join(
        f"{name} {of['rss_bytes'] / 1e6:.1f} MB, {of['threads']} threads, {of['fds']} fds, {of['tasks']} tasks"
        for name, of in figures.items()
    )


def _time_rows(answered: Sequence[Answered], stock_answer_s: Sequence[float]) -> list[Row]:
    ring = [one.ring_s * 1000 for one in answered]
    heard = [one.both_heard_s * 1000 for one in answered]
    stock_ms = [taken_s * 1000 for taken_s in stock_answer_s]
    note = f"the peer: order to offer → first voice at both ends, no hub; {len(stock_ms)} calls"
    nobody = Peer(None, reason=NO_PEER)

    def peer(percent: float) -> Peer:
        if not stock_ms:
            return Peer("stock aiortc", reason="it was not measured in this run")
        return Peer("stock aiortc", percentile(stock_ms, percent), note)

    told = f"{len(answered)} calls"
    meaning = f"{told}; first audible sound out of the decoder, at the later of both ends"
    return [
        row("press at the door → ringing LED at the flat: median", median(ring), "ms", nobody, reason=told),
        row("press at the door → ringing LED at the flat: p95", percentile(ring, 95), "ms", nobody, at_most=RING_MS,
            reason=told),
        row("answer → voice heard at both ends: median", median(heard), "ms", peer(50), reason=meaning),
        row("answer → voice heard at both ends: p95", percentile(heard, 95), "ms", peer(95), at_most=HEARD_MS,
            reason=meaning),
    ]  # fmt: skip


def _growth_rows(figures: Mapping[int, Mapping[str, Figures]]) -> list[Row]:
    first, last = figures[FIRST], figures[CALLS]
    nobody = Peer(None, reason="the peer's programs live for one call")
    rows = []
    for name in ENDS:
        before, after = first[name], last[name]
        growth = (after["rss_bytes"] / before["rss_bytes"] - 1) * 100
        told = f"{before['rss_bytes'] / 1e6:.2f} → {after['rss_bytes'] / 1e6:.2f} MB"
        what = f"{name}, call {FIRST} → {CALLS}"
        rows.append(row(f"{what}: RSS", growth, "%", nobody, at_most=GROWTH_PERCENT, reason=told))
        for kind in ("threads", "fds", "tasks"):
            told = f"{before[kind]} → {after[kind]}"
            rows.append(row(f"{what}: {kind}", after[kind] - before[kind], "more", nobody, at_most=0, reason=told))
    return rows
