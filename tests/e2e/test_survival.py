"""A call in a network of its own outlives what breaks in it: a pulled cable, and its hub. Both judged on what the sinks
play; the benchmark `recovery` measures the same and more."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from intercomd.demo.house import HUB
from tests.bench.ears import Ear
from tests.bench.recovery import network
from tests.bench.recovery.judge import presence, share
from tests.bench.recovery.laboratory import CALLEE, CALLER, SINKS, STATIONS, Laboratory
from tests.bench.recovery.trial import OTHER
from tests.bench.voices import speaking, voice_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(90),
    pytest.mark.platform("pulseaudio", "netns"),
]
CUT_S = 4.0
SPEECH_S = 3.0
LIMIT_S = 30.0
MOSTLY = 0.6
"""Of the time. On a crowded machine any voice has gaps; another voice stays below 0.1."""


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Not per test: the laboratory outlives them. It is checked once, after it has gone."""


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_the_laboratory() -> Iterator[None]:
    before, spaces = len(os.listdir("/proc/self/fd")), _namespaces()
    yield
    assert len(os.listdir("/proc/self/fd")) <= before
    assert _namespaces() == spaces


def _namespaces() -> set[str]:
    """Ours: their names carry the id of their process."""
    place = Path("/run/netns")
    return {path.name for path in place.glob(f"*-{os.getpid()}-*")} if place.is_dir() else set()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    async with Laboratory(relayed=False) as lab:
        with speaking(lab, tmp_path_factory.mktemp("voices"), STATIONS):
            yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def call_id(lab: Laboratory) -> AsyncIterator[str]:
    yield await lab.call()
    await lab.quiet()


async def shares(lab: Laboratory) -> dict[tuple[str, str], float]:
    """From now on for a while: how much of the time whose voice is heard at whose end."""
    ears = {name: Ear(lab.rig, sink) for name, sink in SINKS.items()}
    try:
        for ear in ears.values():
            await asyncio.to_thread(ear.__enter__)
        await asyncio.sleep(SPEECH_S)
    finally:
        for ear in ears.values():
            ear.close()
    heard = {name: ear.heard().pcm for name, ear in ears.items()}
    return {
        (who, whom): share(presence(voice_of(lab, whom), heard[who]), 0.0, 0.5, SPEECH_S - 0.2)
        for who in STATIONS
        for whom in STATIONS
    }


async def hear_each_other(lab: Laboratory) -> None:
    found = await shares(lab)
    for who in STATIONS:
        assert found[who, OTHER[who]] >= MOSTLY, found
        assert found[who, who] < 0.1, "the judge takes anything for a voice"


async def test_a_cable_that_was_pulled_for_four_seconds_ends_no_call(lab: Laboratory, call_id: str) -> None:
    lab.network.pull(network.DOOR)
    try:
        await lab.see(CALLER, "notices", lambda status: status["phase"] == "reconnecting", CUT_S)
        assert max((await shares(lab)).values()) < 0.1, "a pulled cable carries no voice"
        await asyncio.sleep(max(0.0, CUT_S - SPEECH_S))
    finally:
        lab.network.plug_in(network.DOOR)
    for name in STATIONS:
        status = await lab.see(name, "is connected again", lambda status: status["phase"] == "connected", LIMIT_S)
        assert status["call"]["callId"] == call_id
    await hear_each_other(lab)


async def test_a_hub_that_dies_and_comes_back_leaves_the_voice_alone(lab: Laboratory, call_id: str) -> None:
    await lab.cut_power(HUB)
    try:
        for name in STATIONS:
            await lab.see(name, "misses its hub", lambda status: status["link"]["state"] != "registered", LIMIT_S)
        await hear_each_other(lab)
    finally:
        lab.start(HUB)
    for name in (CALLER, CALLEE):
        status = await lab.see(
            name, "is registered again", lambda status: status["link"]["state"] == "registered", LIMIT_S
        )
        assert (status["call"]["callId"], status["call"]["epoch"], status["phase"]) == (call_id, 1, "connected")
    await hear_each_other(lab)
