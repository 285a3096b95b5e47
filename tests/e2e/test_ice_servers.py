"""A household whose hub issues credentials for a real coturn: the stations look at it, say what they found, and a wrong
secret is named in their journal."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from intercomd.demo.control import ControlError
from intercomd.demo.house import HUB, House, _healthy
from tests import coturn
from tests.contract.test_probe import free_port

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.platform("pulseaudio", "alsa-pulse", "libopus", "coturn"),
    pytest.mark.timeout(120),
]
LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Not per test: the household outlives them. It is checked once."""


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_the_household() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before


class Relayed:
    """The household, its relay's port, and the hub's secret."""

    def __init__(self, house: House, port: int, secret: Path) -> None:
        self.house = house
        self.url = f"turn:127.0.0.1:{port}"
        self.secret = secret

    async def restart_hub(self) -> None:
        await self.house.supervisor.stop(HUB)
        self.house.supervisor.start(self.house._program(HUB, "hub", self.house.household.hub_config))
        async with ClientSession(timeout=ClientTimeout(total=LIMIT_S)) as session:
            await self.house.until("the hub serves", lambda: _healthy(session, self.house.household.hub_url))

    async def see(self, station: str, so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Poll until the station's ICE status is so."""
        ice: dict[str, Any] = {}
        deadline_s = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline_s:
            try:
                ice = (await self.house.status(station))["ice"]
            except ControlError:
                ice = {}
            if ice and so(ice):
                return ice
            await asyncio.sleep(0.05)
        raise AssertionError(f"{station} stays {ice}")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def relayed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relayed]:
    folder, port = tmp_path_factory.mktemp("relay"), free_port()
    secret = folder / "secret"
    secret.write_text(coturn.SECRET)
    secret.chmod(0o600)
    with coturn.running(folder, "127.0.0.1", port):
        async with House(ring_timeout_s=20) as house:
            config = house.household.hub_config
            lines = f'turn_urls = ["turn:127.0.0.1:{port}"]\nturn_secret_file = "{secret}"\n'
            config.write_text(config.read_text() + lines)
            relayed = Relayed(house, port, secret)
            await relayed.restart_hub()
            yield relayed


def states(ice: dict[str, Any]) -> dict[str, str]:
    return {server["url"]: server["state"] for server in ice["servers"]}


async def test_the_stations_look_at_the_hubs_relay(relayed: Relayed) -> None:
    good = {relayed.url: "good", relayed.url.replace("turn", "stun"): "good"}
    for station in ("door", "flat"):
        ice = await relayed.see(station, lambda ice: states(ice) == good)
        assert all(server["chosen"] and server["source"] == "hub" for server in ice["servers"])
        assert 3500 < ice["credentials_s"] <= 3600
        assert all(server["round_trip_ms"] < 1000 for server in ice["servers"])


async def test_a_secret_that_the_relay_does_not_share_is_named_in_the_journal(relayed: Relayed) -> None:
    relayed.secret.write_text("south")
    await relayed.restart_hub()
    await relayed.see("door", lambda ice: states(ice).get(relayed.url) == "refused")
    lines = [
        line for line in relayed.house.journal.lines()
        if line.source == "door" and line.fields.get("ERROR_CODE") == "ICE_CREDENTIALS_REFUSED"
    ]  # fmt: skip
    assert len(lines) == 1, "once in a cycle"
    assert relayed.url in str(lines[0].fields["REASON"])
    assert "issued by the hub" in str(lines[0].fields["REASON"])
    relayed.secret.write_text(coturn.SECRET)
    await relayed.restart_hub()
    await relayed.see("door", lambda ice: states(ice).get(relayed.url) == "good")
