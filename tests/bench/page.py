"""The benchmark `page`: the resident's page in Chromium, called by real stations and calling them.

    python -m tests.bench.page      writes build/bench/page.json; exit status 1 if the run is invalid

Somebody speaks without a pause at each end, so the first audible sound is the first that could have been. The page's
moments are the browser's own (`performance.now`), the stations' come with their status; one clock is laid on the other
to a fraction of a millisecond.
"""

import asyncio
import random
import sys
import tempfile
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from time import monotonic
from typing import TYPE_CHECKING, Any

from intercomd.demo.house import House, HouseError
from intercomd.demo.listen import read_wav
from intercomd.demo.page_scene import VOICE, invite
from intercomd.demo.resident import PageError, Resident, browser, lacking, resident
from intercomd.demo.sound import SoundError, sentence
from intercomd.media.pcm import RATE_HZ
from tests.bench.hands import Hands, Late, hands
from tests.bench.listening import listening
from tests.bench.load import LoadWatch, quiet_machine
from tests.bench.report import Peer, Row, broken, invalid, is_valid, row, table, write
from tests.bench.settings import settings
from tests.bench.sounds import percentile, without_pauses
from tests.bench.voices import speaking

if TYPE_CHECKING:
    from playwright.async_api import Browser

PARTS = ("weight", "answers", "calls", "reloads", "quality")
OUTPUT = Path(__file__).parents[2] / "build" / "bench" / "page.json"
NAME = "tenant"
COLD, WARM, CALLS, RELOADS, VISITS = 5, 20, 10, 10, 5
LOOK_S = 0.01
LIMIT_S = 15.0
SETTLED_S = 12.0
"""After its beginning Chromium's buffer is larger than it needs to be."""
READINGS = 5
MAX_BYTES, MAX_REQUESTS = 120_000, 10
NOBODY = Peer(None, reason="no other intercom's page can run here")

_INSTRUMENTS = """
window.bench = { peers: [], pressed: 0, microphone: 0, heard: 0 };
window.addEventListener("click", (event) => {
  if (!event.target.closest("#answer, #stations button")) return;
  Object.assign(window.bench, { pressed: event.timeStamp, heard: 0 });
}, true);
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wish) => {
  const stream = await ask(wish);
  window.bench.microphone = performance.now();
  return stream;
};
""" + listening(
    0.02,
    heard="(now) => { window.bench.heard = now; return true; }",
    made="(connection) => window.bench.peers.push(connection)",
)

_VIEW = """async () => {
  const report = [...(await window.bench.peers.at(-1).getStats()).values()];
  const inbound = report.find((entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
  const pair = report.find((entry) => entry.type === "candidate-pair" && entry.nominated);
  const playout = report.find((entry) => entry.type === "media-playout") ?? {};
  return {
    buffer: inbound.jitterBufferDelay, emitted: inbound.jitterBufferEmittedCount,
    target: inbound.jitterBufferTargetDelay, concealed: inbound.concealedSamples, samples: inbound.totalSamplesReceived,
    silent: inbound.silentConcealedSamples, lost: inbound.packetsLost, received: inbound.packetsReceived,
    jitter: inbound.jitter, roundTrip: pair.currentRoundTripTime,
    playout: playout.totalPlayoutDelay ?? 0, played: playout.totalSamplesCount ?? 0,
  };
}"""


@dataclass(frozen=True, slots=True)
class Answered:
    """Seconds from the press on the page (or at the station that it called) until each end hears the other."""

    page_s: float
    station_s: float
    microphone_s: float

    @property
    def both_s(self) -> float:
        return max(self.page_s, self.station_s)


@dataclass(frozen=True, slots=True)
class Visit:
    """Opening the page: bytes over the wire, bytes unpacked, requests, seconds until it can be used and until it can
    ring."""

    wire: int
    unpacked: int
    requests: int
    ready_s: float
    linked_s: float


class Bench:
    def __init__(self, house: House, directory: Path) -> None:
        self.house = house
        self.voice = _unceasing(directory)
        self.dice = random.Random(3)

    @asynccontextmanager
    async def person(self, chromium: "Browser") -> AsyncIterator[Resident]:
        """In a browser of their own, with the instruments."""
        link = await invite(self.house, NAME)
        watch = lambda context: context.add_init_script(_INSTRUMENTS)  # noqa: E731
        async with resident(chromium, link, watch=watch) as tenant:
            yield tenant

    @asynccontextmanager
    async def first_person(self) -> AsyncIterator[Resident]:
        """In a Chromium that has just been started."""
        async with browser(self.voice) as chromium, self.person(chromium) as tenant:
            yield tenant


# ------------------------------------------------------------------------------------------------------- measuring


async def answer(bench: Bench, people: Hands, tenant: Resident) -> Answered:
    """The door calls, the page answers."""
    await bench.house.ask("door", "call", peer=NAME)
    await tenant.phase("ringing_in")
    await asyncio.sleep(bench.dice.uniform(0.25, 0.35))
    await tenant.answer()
    pressed_s = await _pressed_s(tenant)
    return await _both(people, tenant, "door", pressed_s)


async def call(people: Hands, tenant: Resident) -> Answered:
    """The page calls, the flat answers by its button."""
    await tenant.call("flat")
    await people.see("flat", "rings", lambda status: status["phase"] == "ringing")
    pressed = await people.press("flat", "call")
    answered = await _both(people, tenant, "flat", pressed.at_ns / 1e9)
    await people.release("flat", "call")
    return answered


async def reloaded(people: Hands, tenant: Resident) -> float:
    """Seconds from the order to reload a page in a call until both hear each other again."""
    began_s = monotonic()
    await tenant.reload()
    page_s = await _heard_s(tenant)
    await tenant.phase("connected")
    return max(page_s, await _voice_s(people, "door", began_s)) - began_s


async def hang_up(people: Hands, tenant: Resident, station: str) -> None:
    await tenant.hang_up()
    await tenant.phase("idle")
    await people.see(station, "is idle", lambda status: status["phase"] == "idle")


async def visit(tenant: Resident, *, kept: bool) -> Visit:
    """Open the page in a tab of its own; `kept`: with what the browser has kept of it."""
    page = await tenant.context.new_page()
    network = await tenant.context.new_cdp_session(page)
    wire: list[int] = []
    unpacked: list[int] = []
    sockets: list[int] = []
    await network.send("Network.enable")
    await network.send("Network.setCacheDisabled", {"cacheDisabled": not kept})
    network.on("Network.loadingFinished", lambda event: wire.append(int(event["encodedDataLength"])))
    network.on("Network.dataReceived", lambda event: unpacked.append(int(event["dataLength"])))
    network.on("Network.webSocketCreated", lambda _: sockets.append(1))
    await page.goto(tenant.page.url)
    await page.wait_for_selector('#ready[data-state="yes"], #ready[data-state="silent"]')
    await page.wait_for_load_state("networkidle")
    marks: dict[str, float] = await page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('mark').map(({ name, startTime }) => [name, startTime]))"
    )
    await page.close()
    return Visit(
        sum(wire), sum(unpacked), len(wire) + len(sockets),
        marks["intercom:ready"] / 1000, marks["intercom:linked"] / 1000,
    )  # fmt: skip


async def _both(people: Hands, tenant: Resident, station: str, pressed_s: float) -> Answered:
    page_s = await _heard_s(tenant)
    station_s = await _voice_s(people, station, pressed_s)
    opened_s = await _offset_s(tenant) + await tenant.page.evaluate("window.bench.microphone") / 1000
    return Answered(page_s - pressed_s, station_s - pressed_s, opened_s - pressed_s)


async def _voice_s(people: Hands, station: str, after_s: float) -> float:
    """When the station first played something audible of the page's, after that moment."""

    def voice_s(status: dict[str, Any]) -> float:
        return (status["audio"]["playout"]["first_voice_t_ns"] or 0) / 1e9

    return voice_s(await people.see(station, "hears the page", lambda status: voice_s(status) > after_s))


async def _pressed_s(tenant: Resident) -> float:
    return await _offset_s(tenant) + float(await tenant.page.evaluate("window.bench.pressed")) / 1000


async def _heard_s(tenant: Resident) -> float:
    """When the page first played something audible, by our clock."""
    deadline_s = monotonic() + LIMIT_S
    while monotonic() < deadline_s:
        heard_ms = float(await tenant.page.evaluate("window.bench?.heard ?? 0"))
        if heard_ms:
            return await _offset_s(tenant) + heard_ms / 1000
        await asyncio.sleep(LOOK_S)
    raise Late(f"the page plays nothing within {LIMIT_S:g} s: {await tenant.shown()}")


async def _offset_s(tenant: Resident) -> float:
    """Our clock (CLOCK_MONOTONIC) minus the page's, from the quickest of a few questions."""
    found: list[tuple[float, float]] = []
    for _ in range(READINGS):
        asked_s = monotonic()
        now_s = float(await tenant.page.evaluate("performance.now()")) / 1000
        took_s = monotonic() - asked_s
        found.append((took_s, asked_s + took_s / 2 - now_s))
    return min(found)[1]


def _unceasing(directory: Path) -> Path:
    """The browser's microphone: speech without a pause."""
    path = directory / "page.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(without_pauses(read_wav(sentence(VOICE))).tobytes())
    return path


# ----------------------------------------------------------------------------------------------------------- parts


async def weight(bench: Bench) -> list[Row]:
    async with bench.first_person() as tenant:
        first = [await visit(tenant, kept=False) for _ in range(VISITS)]
        await visit(tenant, kept=True)
        again = [await visit(tenant, kept=True) for _ in range(VISITS)]
    told = f"{VISITS} visits, each in a tab of its own, over loopback"
    ready = "all of it is drawn and takes presses"
    return [
        row("page weight, over the wire", max(one.wire for one in first), "bytes", NOBODY, at_most=MAX_BYTES,
            reason="nothing kept by the browser; headers and gzip included"),
        row("page weight, unpacked", max(one.unpacked for one in first), "bytes", NOBODY),
        row("requests, the WebSocket included", max(one.requests for one in first), "requests", NOBODY,
            at_most=MAX_REQUESTS),
        row("page weight of a second visit, over the wire", max(one.wire for one in again), "bytes", NOBODY),
        row("opened → can be used, first visit: median", median(one.ready_s for one in first) * 1000, "ms", NOBODY,
            reason=f"{told}; {ready}"),
        row("opened → can be used, second visit: median", median(one.ready_s for one in again) * 1000, "ms", NOBODY,
            reason=told),
        row("opened → can ring, first visit: median", median(one.linked_s for one in first) * 1000, "ms", NOBODY,
            reason=f"{told}; registered at the hub"),
    ]  # fmt: skip


async def answers(bench: Bench) -> list[Row]:
    cold, warm = [], []
    async with hands(bench.house, ("door",)) as people:
        for _ in range(COLD):
            async with bench.first_person() as tenant:
                cold.append(await answer(bench, people, tenant))
                await hang_up(people, tenant, "door")
        async with bench.first_person() as tenant:
            for number in range(WARM + 1):
                answered = await answer(bench, people, tenant)
                await hang_up(people, tenant, "door")
                warm += [answered] if number else []
    return [
        *_times("answered on the page → voice at both ends, cold", cold, f"{COLD} calls, each the first of a Chromium"),
        *_times("answered on the page → voice at both ends, warm", warm, f"{WARM} calls"),
        row("of it, until the microphone is open, cold: median", _ms(one.microphone_s for one in cold), "ms", NOBODY),
        row("of it, until the microphone is open, warm: median", _ms(one.microphone_s for one in warm), "ms", NOBODY),
        row("of it, until the page hears, warm: median", _ms(one.page_s for one in warm), "ms", NOBODY),
        row("of it, until the door hears, warm: median", _ms(one.station_s for one in warm), "ms", NOBODY),
    ]


async def calls(bench: Bench) -> list[Row]:
    times = []
    async with hands(bench.house, ("flat",)) as people, bench.first_person() as tenant:
        for number in range(CALLS + 1):
            answered = await call(people, tenant)
            await hang_up(people, tenant, "flat")
            times += [answered] if number else []
    return _times("answered at the flat → voice at both ends", times, f"{CALLS} calls from the page")


async def reloads(bench: Bench) -> list[Row]:
    async with hands(bench.house, ("door",)) as people, bench.first_person() as tenant:
        await answer(bench, people, tenant)
        times = []
        for _ in range(RELOADS):
            times.append(await reloaded(people, tenant))
            await asyncio.sleep(1.5)  # the hub grants a restart once a second
        await hang_up(people, tenant, "door")
    told = f"{RELOADS} reloads of one call; loading the page is part of it"
    return [
        row("reloaded in a call → voice at both ends again: median", median(times) * 1000, "ms", NOBODY, reason=told),
        row("reloaded in a call → voice at both ends again: worst", max(times) * 1000, "ms", NOBODY, reason=told),
    ]


async def quality(bench: Bench) -> list[Row]:
    async with hands(bench.house, ("door",)) as people, bench.first_person() as tenant:
        await answer(bench, people, tenant)
        first = await tenant.page.evaluate(_VIEW)
        await asyncio.sleep(SETTLED_S)
        last: dict[str, float] = await tenant.page.evaluate(_VIEW)
        shown = await tenant.page.inner_text("#quality-word")
        await hang_up(people, tenant, "door")
    since = {name: last[name] - first[name] for name in last}
    told = f"over {SETTLED_S:g} s of one call; the page shows “{shown}”"
    rows = [
        row("Chromium: jitter buffer, mean", since["buffer"] / since["emitted"] * 1000, "ms", NOBODY, reason=told),
        row("Chromium: jitter buffer, its target", since["target"] / since["emitted"] * 1000, "ms", NOBODY),
        row("Chromium: concealed", since["concealed"] / since["samples"] * 100, "%", NOBODY, reason=told),
        row("Chromium: packets lost", since["lost"], "packets", NOBODY, reason=f"{since['received']:.0f} received"),
        row("Chromium: jitter", last["jitter"] * 1000, "ms", NOBODY),
        row("Chromium: round trip", last["roundTrip"] * 1000, "ms", NOBODY),
    ]
    if since["played"]:
        rows.append(row("Chromium: playout delay", since["playout"] / since["played"] * 1000, "ms", NOBODY))
    return rows


def _times(name: str, times: Sequence[Answered], told: str) -> list[Row]:
    both = [one.both_s * 1000 for one in times]
    reason = f"{told}; first audible sound out of the decoder, at the later of both ends; mean {mean(both):.0f} ms"
    return [
        row(f"{name}: median", median(both), "ms", NOBODY, reason=reason),
        row(f"{name}: p95", percentile(both, 95), "ms", NOBODY, reason=reason),
    ]


def _ms(values: Any) -> float:
    return median(values) * 1000


# ------------------------------------------------------------------------------------------------------------- run


async def page(wanted: Sequence[str], load_before: float) -> list[Row]:
    """The rows of these parts; a part that breaks gives one row that says so, and the others go on."""
    reason = lacking()
    if reason is not None:
        return [broken("the page", reason)]
    parts: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
        "weight": weight, "answers": answers, "calls": calls, "reloads": reloads, "quality": quality,
    }  # fmt: skip
    rows: list[Row] = []
    try:
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intercomd-bench-")))
            house = await stack.enter_async_context(House())
            for station in house.stations:
                house.cards.hush(station.name)
            stack.enter_context(speaking(house, directory, ("door", "flat")))
            bench = Bench(house, directory)
            for name in wanted:
                print(f"  {name}", flush=True)
                rows += await _part(name, parts[name], bench, LoadWatch(load_before))
    except (HouseError, SoundError) as error:
        return [broken("the house", str(error))]
    return rows


async def _part(name: str, part: Callable[[Bench], Awaitable[list[Row]]], bench: Bench, watch: LoadWatch) -> list[Row]:
    try:
        async with watch:
            rows = await part(bench)
    except (Late, PageError, ValueError) as error:
        return [broken(name, str(error))]
    print(f"    {name}: {watch.load}", flush=True)
    complaints = watch.load.complaints()
    return invalid(rows, "; ".join(complaints)) if complaints else rows


async def _run() -> list[Row]:
    return await page(PARTS, await quiet_machine())


def main() -> int:
    """0 if the run is valid: a miss is a result."""
    print(settings())
    rows = asyncio.run(_run())
    write(rows, OUTPUT)
    print(f"\n{table(rows)}\n\nwritten to {OUTPUT}")
    return 0 if is_valid(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
