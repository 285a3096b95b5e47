"""kill −9 of the flat's daemon in a connected call, again and again: when do both ends hear each other's voice again,
on the samples that their sinks played?"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from intercomd.demo.house import House
from intercomd.media.pcm import Pcm
from tests.bench.ears import Ear
from tests.bench.hands import Late, hands, seen, start_afresh
from tests.bench.report import Peer, Row, row
from tests.bench.sounds import Dated, voice_from_s
from tests.bench.voices import speaking, voice_of

KILLS = 20
TARGET_S = 3.0
CALLER, VICTIM = "door", "flat"
SINKS = {CALLER: "door_spk", VICTIM: "flat_handset"}
BEFORE_S = 0.6
AFTER_S = 1.2
"""Speech that is recorded once both are connected again."""
IN_FLIGHT_S = 0.3
"""What was on its way at the kill has been played by then; a new process cannot have spoken yet."""
NO_PEER = "no other intercom restores a call by itself"


@dataclass(frozen=True, slots=True)
class Kill:
    """What both sinks played around it."""

    at_s: float
    heard: dict[str, Dated]
    reconnecting: bool


async def restore(house: House, directory: Path) -> Callable[[], list[Row]]:
    """A fresh call for each kill, and a supervisor that has forgotten the last one."""
    voices = {name: voice_of(house, name) for name in SINKS}
    kills = []
    for number in range(KILLS):
        await start_afresh(house, VICTIM)
        with speaking(house, directory, list(SINKS)):
            kills.append(await _kill(house))
        print(f"    kill {number + 1} of {KILLS}", flush=True)
    return lambda: _rows(kills, voices)


async def _kill(house: House) -> Kill:
    ears = {name: Ear(house.rig, sink) for name, sink in SINKS.items()}
    try:
        async with hands(house, (CALLER, VICTIM)) as people:
            await people.call(CALLER, VICTIM)
        for ear in ears.values():
            await asyncio.to_thread(ear.__enter__)
        await asyncio.sleep(BEFORE_S)
        at_s = time.monotonic()
        house.supervisor.kill(VICTIM)
        reconnecting = await _shows_reconnecting(house)
        for name in (VICTIM, CALLER):
            await seen(house, name, lambda status: status["phase"] == "connected", "is connected again")
        await asyncio.sleep(AFTER_S)
    finally:
        for ear in ears.values():
            ear.close()
    async with hands(house, (CALLER, VICTIM)) as people:
        await people.hang_up(CALLER, (CALLER, VICTIM))
    return Kill(at_s, {name: ear.heard() for name, ear in ears.items()}, reconnecting)


async def _shows_reconnecting(house: House) -> bool:
    try:
        await seen(house, CALLER, lambda status: status["phase"] == "reconnecting", "shows reconnecting")
    except Late:
        return False
    return True


def _rows(kills: Sequence[Kill], voices: dict[str, Pcm]) -> list[Row]:
    back = {name: [_back_s(kill, name, voices) for kill in kills] for name in SINKS}
    both = [max(pair) for pair in zip(*back.values(), strict=True)]
    ends = "; ".join(f"at the {name} {median(times):.2f} s" for name, times in back.items())
    told = f"{len(kills)} kills; {ends}"
    nobody = Peer(None, reason=NO_PEER)
    shown = sum(kill.reconnecting for kill in kills)
    return [
        row("kill −9 → voice both ways: median", median(both), "s", nobody, at_most=TARGET_S, reason=told),
        row("kill −9 → voice both ways: worst", max(both), "s", nobody, at_most=TARGET_S, reason=told),
        row("the door showed `reconnecting` meanwhile", shown, f"of {len(kills)}", nobody, equal=len(kills)),
    ]


def _back_s(kill: Kill, name: str, voices: dict[str, Pcm]) -> float:
    """When the other one's voice is in this one's sink again, from the kill on."""
    (other,) = voices.keys() - {name}
    heard = kill.heard[name]
    from_s = voice_from_s(voices[other], heard.pcm, kill.at_s - heard.began_s + IN_FLIGHT_S)
    if from_s is None:
        raise Late(f"after a kill the {name} did not hear the {other} again")
    return heard.began_s + from_s - kill.at_s
