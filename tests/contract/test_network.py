"""The network under the station, faked and by rtnetlink: one picture, and one word for each settled change."""

import asyncio
import ctypes
import subprocess
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from intercomd.adapters.netlink import QUIET_S, NetlinkNetwork, source_towards
from intercomd.fakes.network import HOME, FakeNetwork
from intercomd.ports import Network, Paths

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET, unshare(2)."""
LIMIT_S = 5.0


class Lan:
    """A network namespace of this thread's own, with a pair of Ethernet ends in it."""

    def __init__(self) -> None:
        self.network = NetlinkNetwork("192.0.2.200")
        self.ip("link set lo up", "link add eth0 type veth peer name far", "link set far up", "link set eth0 up")
        self.ip("addr add 192.0.2.7/24 dev eth0", "route add default via 192.0.2.1")

    def ip(self, *commands: str) -> None:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)

    def roam(self) -> None:
        self.ip("addr del 192.0.2.7/24 dev eth0", "addr add 198.51.100.9/24 dev eth0")
        self.ip("route add default via 198.51.100.1")

    def restless(self) -> None:
        """Messages that change nothing that counts."""
        self.ip("link set eth0 txqueuelen 900", "route add 203.0.113.0/24 via 192.0.2.1", "neigh flush dev eth0")


class FakeLan:
    def __init__(self) -> None:
        self.network = FakeNetwork()

    def roam(self) -> None:
        self.network.become(
            replace(
                HOME,
                addresses=HOME.addresses - {"192.0.2.7"} | {"198.51.100.9"},
                routes=frozenset({"ipv4 via 198.51.100.1 dev eth0"}),
                source="198.51.100.9",
            )
        )

    def restless(self) -> None:
        self.network.become(self.network.paths())


def in_its_own_network(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run it in a thread that has left this network: a thread may (unshare(2)), and it ends with the thread."""
    failures: list[BaseException] = []

    def main() -> None:
        try:
            assert ctypes.CDLL(None).unshare(_NEW_NETWORK) == 0
            asyncio.run(asyncio.wait_for(scenario(), 4 * LIMIT_S))
        except BaseException as failure:  # noqa: BLE001  handed to the test's thread
            failures.append(failure)

    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


BOTH = [
    pytest.param(FakeLan, lambda scenario: asyncio.run(scenario()), id="fake"),
    pytest.param(Lan, in_its_own_network, id="netlink", marks=pytest.mark.platform("netns")),
]


class Ear:
    def __init__(self, network: Network) -> None:
        self.heard: asyncio.Queue[Paths] = asyncio.Queue()
        self._task = asyncio.create_task(network.run(self.heard.put_nowait))

    async def next(self) -> Paths:
        return await asyncio.wait_for(self.heard.get(), LIMIT_S)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.mark.parametrize(("lan", "within"), BOTH)
def test_the_picture(lan: Callable[[], Lan], within: Callable[..., None]) -> None:
    async def scenario() -> None:
        paths = lan().network.paths()
        assert {"127.0.0.1", "192.0.2.7"} <= paths.addresses
        assert paths.routes == {"ipv4 via 192.0.2.1 dev eth0"}
        assert {"lo", "eth0"} <= paths.carriers
        assert paths.source == "192.0.2.7"

    within(scenario)


@pytest.mark.parametrize(("lan", "within"), BOTH)
def test_a_roam_is_one_change(lan: Callable[[], Lan], within: Callable[..., None]) -> None:
    async def scenario() -> None:
        here = lan()
        ear = Ear(here.network)
        await asyncio.sleep(0)
        here.roam()
        paths = await ear.next()
        assert "192.0.2.7" not in paths.addresses
        assert paths.source == "198.51.100.9"
        assert paths.routes == {"ipv4 via 198.51.100.1 dev eth0"}
        await asyncio.sleep(2 * QUIET_S)
        assert ear.heard.empty()
        await ear.close()

    within(scenario)


@pytest.mark.parametrize(("lan", "within"), BOTH)
def test_what_changes_no_path_is_not_told(lan: Callable[[], Lan], within: Callable[..., None]) -> None:
    async def scenario() -> None:
        here = lan()
        await asyncio.sleep(2 * QUIET_S)  # the kernel's own IPv6 addresses settle
        ear = Ear(here.network)
        await asyncio.sleep(0)
        here.restless()
        await asyncio.sleep(3 * QUIET_S)
        told = [ear.heard.get_nowait() for _ in range(ear.heard.qsize())]
        assert all(paths.routes == here.network.paths().routes for paths in told)
        assert not [paths for paths in told if "192.0.2.7" not in paths.addresses]
        await ear.close()

    within(scenario)


@pytest.mark.platform("netns")
def test_a_network_that_never_rests_is_told_all_the_same() -> None:
    async def scenario() -> None:
        lan = Lan()
        ear = Ear(lan.network)

        async def flap() -> None:
            for turn in range(round(3 * LIMIT_S / QUIET_S)):
                lan.ip(f"addr {('add', 'del')[turn % 2]} 192.0.2.{8 + turn // 2 % 9}/32 dev lo")
                await asyncio.sleep(QUIET_S / 5)

        flapping = asyncio.create_task(flap())
        lan.roam()
        assert "198.51.100.9" in (await ear.next()).addresses
        assert not flapping.done()
        flapping.cancel()
        await asyncio.wait([flapping])
        await ear.close()

    in_its_own_network(scenario)


@pytest.mark.platform("netns")
def test_without_a_route_there_is_no_source() -> None:
    async def scenario() -> None:
        network = NetlinkNetwork("192.0.2.200")
        assert network.paths().source is None
        assert network.paths().routes == frozenset()

    in_its_own_network(scenario)


def test_a_name_stands_for_anywhere() -> None:
    assert source_towards("hub.example.org") == source_towards("192.0.2.1")
    assert source_towards("127.0.0.1") == "127.0.0.1"
    assert source_towards("::1") in ("::1", None)
