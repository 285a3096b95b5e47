"""What is taken away from a call, each for itself. A scenario makes its trials; what they say is reckoned later."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic

from intercomd.demo.house import HUB
from tests.bench.hands import Late
from tests.bench.recovery import network
from tests.bench.recovery.laboratory import CALLEE, CALLER, LOOK_S, STATIONS
from tests.bench.recovery.relays import RELAYS
from tests.bench.recovery.resident import at_the_page, page_trial
from tests.bench.recovery.stock import StockPair
from tests.bench.recovery.trial import Ground, Trial, trial

KILLS = 3
BOOT_S = 60.0
HUNG_S = 15.0
PAGE_CUT_S = 12.0
HUB_GONE_LISTEN_S = 3.0
CUTS: tuple[tuple[float, str], ...] = (
    (3, network.DOOR), (3, network.FLAT), (12, network.DOOR), (12, network.FLAT), (45, network.DOOR),
)  # fmt: skip
"""Seconds, and where: the door's cable is pulled, or the flat's packets are swallowed somewhere beyond."""
LOSS_PERCENT, LOSS_S, SETUPS, SETUP_LIMIT_S = 20, 15.0, 3, 30.0

Trials = list[Trial]


async def station_killed(ground: Ground) -> Trials:
    async def kill(victim: str, made: Trial) -> None:
        ground.lab.supervisor.kill(victim)
        await _away(ground, victim)

    return [await trial(ground, "station-killed", partial(kill, who)) for _ in range(KILLS) for who in (CALLEE, CALLER)]


async def both_killed(ground: Ground) -> Trials:
    async def kill(made: Trial) -> None:
        for name in STATIONS:
            ground.lab.supervisor.kill(name)
        await _away(ground, CALLEE)

    return [await trial(ground, "both-killed", kill) for _ in range(KILLS)]


async def hub_killed(ground: Ground) -> Trials:
    """The stock pair's hub is killed and started again in the same moments."""

    async def kill(made: Trial) -> None:
        assert made.pair is not None
        ground.lab.supervisor.kill(HUB)
        await made.pair.kill_hub()
        await asyncio.sleep(0.2)
        await made.pair.start_hub()
        await _registered(ground, made)
        await asyncio.sleep(HUB_GONE_LISTEN_S)
        stock_s = made.pair.link_back_s(made.fault_s)
        if stock_s is not None:
            made.figures["stock link"] = stock_s

    return [await trial(ground, "hub-killed", kill, beside=True, before_s=4.0) for _ in range(2)]


async def hub_hung(ground: Ground) -> Trials:
    async def hang(made: Trial) -> None:
        ground.lab.signal(HUB, signal.SIGSTOP)
        try:
            while monotonic() < made.fault_s + HUNG_S:
                statuses = [await ground.lab.glance(name) for name in STATIONS]
                if all(status is not None and status["link"]["state"] != "registered" for status in statuses):
                    made.figures.setdefault("seen down", monotonic() - made.fault_s)
                await asyncio.sleep(LOOK_S)
        finally:
            ground.lab.signal(HUB, signal.SIGCONT)
        made.since_s = monotonic()
        await _registered(ground, made)

    return [await trial(ground, "hub-hung", hang)]


async def away(ground: Ground) -> Trials:
    """A boot of a minute: killed by the power cut, and started when the machine is up."""

    async def boot(made: Trial) -> None:
        await ground.lab.cut_power(CALLEE)
        await asyncio.sleep(BOOT_S)
        made.since_s = monotonic()
        ground.lab.start(CALLEE)

    return [await trial(ground, "away", boot)]


async def cuts(ground: Ground) -> Trials:
    async def cut(seconds: float, room: str, made: Trial) -> None:
        breaking, mending = _cut(ground.lab.network, room)
        await asyncio.to_thread(breaking, room)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(mending, room)
        made.since_s = monotonic()
        made.figures["seconds"] = seconds

    return [
        await trial(
            ground,
            f"cut-{seconds:g}",
            partial(cut, seconds, room),
            beside=True,
            at_least_s=5.0,
        )
        for seconds, room in CUTS
    ]


async def roam(ground: Ground) -> Trials:
    """The door's address changes, and back."""
    return await _moved(ground, "roam", ground.lab.network.roam)


async def rebinding(ground: Ground) -> Trials:
    """The router before the flat forgets its mappings; the new ones have other ports."""
    return await _moved(ground, "rebinding", ground.lab.network.rebind)


async def loss(ground: Ground) -> Trials:
    """First in a call, then from before it."""

    async def lose(made: Trial) -> None:
        ground.lab.network.lose(network.DOOR, LOSS_PERCENT / 100)
        await asyncio.sleep(LOSS_S)

    try:
        made = await trial(ground, "loss", lose, beside=True)
        made.figures["lossy until"] = made.fault_s + LOSS_S
        return [made]
    finally:
        ground.lab.network.heal(network.DOOR)


async def set_up_in_loss(ground: Ground) -> Trials:
    """Signalling and media lose packets from the first one on. Ours from the answer, the stock pair from its offer."""
    lab, trials = ground.lab, []
    for _ in range(SETUPS):
        async with StockPair(lab) as pair:
            made = Trial("")
            trials.append(made)
            lab.network.lose(network.DOOR, LOSS_PERCENT / 100)
            try:
                with suppress(Late):
                    made.call_id = await lab.call(SETUP_LIMIT_S)
                    made.figures["set up"] = lab.answered_s
                with suppress(Late):
                    made.figures["stock set up"] = await pair.call(SETUP_LIMIT_S)
                made.call_ids = tuple([lab.call_id(await lab.glance(name)) for name in STATIONS])
            finally:
                lab.network.heal(network.DOOR)
        if made.call_id:
            ground.calls.setdefault("set-up-in-loss", []).append(made.call_id)
        await lab.quiet()
    return trials


async def relay_killed(ground: Ground) -> Trials:
    """Stations that may only speak through a relay; the one that carries the call is killed, another one is there."""
    lab = ground.lab

    async def kill(made: Trial) -> None:
        relay, made.figures["relayed packets"] = await lab.relays.busiest()
        made.fault_s = made.since_s = monotonic()
        await lab.relays.kill(relay)

    await lab.configured('transport_policy = "relay"\n')
    trials = []
    try:
        for _ in range(2):
            trials.append(await trial(ground, "relay-killed", kill, at_least_s=6.0))
            for relay in RELAYS:
                await lab.relays.start(relay)
    finally:
        await lab.configured("")
    return trials


async def page_reloaded(ground: Ground) -> Trials:
    async with at_the_page(ground.lab, ground.directory) as person:
        return [await page_trial(ground, person, "page-reloaded", lambda _: person.reload()) for _ in range(KILLS)]


async def page_cut(ground: Ground) -> Trials:
    async def cut(made: Trial) -> None:
        await asyncio.to_thread(ground.lab.network.pull, network.PAGE)
        try:
            await asyncio.sleep(PAGE_CUT_S)
        finally:
            await asyncio.to_thread(ground.lab.network.plug_in, network.PAGE)
        made.since_s = monotonic()

    async with at_the_page(ground.lab, ground.directory) as person:
        return [await page_trial(ground, person, "page-cut", cut)]


async def _moved(ground: Ground, name: str, move: Callable[[], None]) -> Trials:
    async def moved(made: Trial) -> None:
        await asyncio.to_thread(move)

    return [await trial(ground, name, moved, beside=True, at_least_s=6.0) for _ in range(2)]


def _cut(wires: network.Network, room: str) -> tuple[Callable[[str], None], Callable[[str], None]]:
    return (wires.pull, wires.plug_in) if room == network.DOOR else (wires.swallow, wires.heal)


async def _away(ground: Ground, victim: str) -> None:
    """Until its old process answers no more: the kernel ends it a moment after the signal."""
    while await ground.lab.glance(victim) is not None:
        await asyncio.sleep(LOOK_S)


async def _registered(ground: Ground, made: Trial) -> None:
    for name in STATIONS:
        await ground.lab.see(name, "is registered again", lambda status: status["link"]["state"] == "registered")
    made.figures["link"] = monotonic() - made.since_s


Scenario = Callable[[Ground], Awaitable[Trials]]
SCENARIOS: Mapping[str, Scenario] = {
    "station-killed": station_killed,
    "both-killed": both_killed,
    "hub-killed": hub_killed,
    "hub-hung": hub_hung,
    "away": away,
    "cuts": cuts,
    "roam": roam,
    "rebinding": rebinding,
    "loss": loss,
    "set-up-in-loss": set_up_in_loss,
    "relay-killed": relay_killed,
    "page-reloaded": page_reloaded,
    "page-cut": page_cut,
}
