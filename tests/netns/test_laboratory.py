"""The laboratory itself: a test that it shows nothing of what it promises would make all others worthless."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.netns.laboratory import PREFIX, Host, Laboratory, LaboratoryError, Nat, command

pytestmark = pytest.mark.platform("netns")

# Sends a datagram to each port, waits for the answers; prints under which port it was seen.
_ASK = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("0.0.0.0", 40000)); s.settimeout(float(sys.argv[2]))
    for port in sys.argv[3:]:
        try:
            s.sendto(b"?", (sys.argv[1], int(port))); print(s.recv(99).decode())
        except OSError: print("-")
"""
# Answers each datagram with the port that it came from.
_ANSWER = """
import select, socket, sys
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sys.argv[1:]]
for s, port in zip(socks, sys.argv[1:]): s.bind(("0.0.0.0", int(port)))
while True:
    for s in select.select(socks, [], [])[0]:
        _, who = s.recvfrom(99); s.sendto(str(who[1]).encode(), who)
"""


@dataclass(frozen=True)
class World:
    server: Host
    home: Nat
    door: Host

    def ask(self, *ports: int, limit_s: float = 1.0) -> list[str]:
        """Under which source ports the server sees the door."""
        arguments = ("203.0.113.10", str(limit_s), *map(str, ports))
        return self.door.run(sys.executable, "-c", _ASK, *arguments).split()


@pytest.fixture(params=[False, True], ids=["plain", "symmetric"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with Laboratory() as lab:
        internet = lab.segment("internet")
        server = lab.host("server", internet, "203.0.113.10/24")
        home = lab.nat("home", internet, "203.0.113.1/24", inside="10.1.0.1/24", symmetric=request.param)
        door = lab.host("door", home.inside, "10.1.0.2/24")
        server.start([sys.executable, "-c", _ANSWER, "7001", "7002"])
        server.await_listener(7002, "udp")
        yield World(server, home, door)


def test_a_symmetric_nat_gives_each_destination_another_port(world: World, request: pytest.FixtureRequest) -> None:
    seen = world.ask(7001, 7002)
    symmetric = request.node.callspec.id == "symmetric"
    assert (len(set(seen)) == 2) is symmetric
    assert ("40000" in seen) is not symmetric
    if symmetric:
        world.home.rebind()
        assert world.ask(7001) != seen[:1], "the same mapping after a restart of the router"


def test_nobody_comes_in_through_a_nat(world: World) -> None:
    with pytest.raises(LaboratoryError, match="exit 1"):
        world.server.run("ping", "-c1", "-W1", "10.1.0.2")
    with pytest.raises(LaboratoryError, match="exit"):
        world.server.run(
            sys.executable, "-c", "import socket; socket.create_connection(('203.0.113.1', 22), timeout=0.5)"
        )


def test_trouble_comes_and_goes(world: World) -> None:
    assert "-" not in world.ask(7001)
    world.door.block("udp dport 7001")
    assert [answer == "-" for answer in world.ask(7001, 7002, limit_s=0.3)] == [True, False]
    world.door.block()
    assert world.ask(7002, limit_s=0.3) == ["-"]
    world.door.lose(0.3)
    answers = world.ask(*[7001] * 60, limit_s=0.05)
    assert 10 <= answers.count("-") <= 50, "half of the round trips are lost"
    world.door.unblock()
    world.door.link(up=False)
    assert world.ask(7001, limit_s=0.3) == ["-"]
    assert "10.1.0.2" not in world.door.ip("address")
    world.door.link(up=True)
    assert "-" not in world.ask(7001)
    world.door.readdress("10.1.0.9/24")
    assert "-" not in world.ask(7001)


def test_nothing_is_left_behind() -> None:
    sleepers: list[subprocess.Popen[str]] = []

    def break_off() -> None:
        with Laboratory() as lab:
            sleepers.append(lab.host("a", lab.segment("wire"), "10.9.0.1/24").start(["sleep", "1000"]))
            lab.host("b", lab.segment("other"), "no address")

    with pytest.raises(LaboratoryError, match="no address"):
        break_off()
    assert [sleeper.poll() for sleeper in sleepers] == [-9]
    assert f"{PREFIX}-{os.getpid()}-" not in command("ip", "netns", "list")


def test_a_killed_run_is_swept_up_by_the_next_one() -> None:
    script = "from tests.netns.laboratory import *\nimport os, time\nl = Laboratory().__enter__()\n"
    script += "l.host('a', l.segment('w'), '10.9.0.1/24').start(['sleep', '1000'])\nos.kill(os.getpid(), 9)"
    killed = subprocess.Popen([sys.executable, "-c", script])
    killed.wait(30)
    mine = f"{PREFIX}-{killed.pid}-"
    assert mine in command("ip", "netns", "list")
    begin_s = time.monotonic()
    with Laboratory():
        assert mine not in command("ip", "netns", "list")
    assert time.monotonic() - begin_s < 5
