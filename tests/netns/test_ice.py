"""ICE in networks as they are: symmetric NATs, a real coturn with the shipped configuration, silent servers."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import coturn
from tests.netns.laboratory import Host, Laboratory, Nat, Segment

pytestmark = [pytest.mark.platform("netns", "coturn", "libopus"), pytest.mark.timeout(120)]

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 40.0
RELAY, SPARE_RELAY = "203.0.113.10", "203.0.113.11"
STUN = {"urls": [f"stun:{RELAY}"]}


class End:
    """A process of `tests/netns/end.py` in a namespace."""

    def __init__(self, host: Host, **settings: Any) -> None:
        argv = [sys.executable, "-m", "tests.netns.end", json.dumps(settings)]
        self.process = host.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        self.words: list[dict[str, Any]] = []
        self.on_described: Callable[[dict[str, Any]], None] = lambda _: None
        self._more: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            word = json.loads(line)
            if "described" in word:
                self.on_described(word)
            self._more.put(word)

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hears(self, key: str, value: Any = None, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The next word with this key (and this value)."""
        end_s = time.monotonic() + limit_s
        while True:
            for place, word in enumerate(self.words):
                assert "failed" not in word, word
                if key in word and value in (None, word[key]):
                    return self.words.pop(place)
            try:
                self.words.append(self._more.get(timeout=max(0.0, end_s - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no {key} within {limit_s:g} s; heard: {self.words}") from None

    def until_known(self) -> dict[str, Any]:
        """The state of its servers, once each was looked at."""
        end_s = time.monotonic() + LIMIT_S
        while True:
            self.order(status=True)
            ice: dict[str, Any] = self.hears("ice")["ice"]
            if all(server["state"] != "unknown" for server in ice["servers"]):
                return ice
            assert time.monotonic() < end_s, ice
            time.sleep(0.1)


@dataclass
class House:
    """Two ends and what is between them; descriptions reach the other side at once."""

    lab: Laboratory
    stack: ExitStack
    folder: Path
    internet: Segment = field(init=False)

    def __post_init__(self) -> None:
        # coturn ends an allocation when the kernel refuses to send for it: without a default route, at the first
        # check of a peer's private address.
        self.internet = self.lab.segment("net", "203.0.113.254/24")

    def relay(self, address: str = RELAY, *more: str) -> Host:
        host = self.lab.host(f"turn{address[-2:]}", self.internet, f"{address}/24")
        folder = self.folder / address
        folder.mkdir()
        self.stack.enter_context(coturn.running(folder, address, 3478, *more, start=host.start))
        return host

    def home(self, number: int, *, symmetric: bool = True) -> tuple[Nat, Host]:
        nat = self.lab.nat(
            f"nat{number}", self.internet, f"203.0.113.{number}/24", inside=f"10.{number}.0.1/24", symmetric=symmetric
        )
        return nat, self.lab.host(f"end{number}", nat.inside, f"10.{number}.0.2/24")

    def ends(
        self, door: Host, flat: Host, servers: list[Any], others: list[Any] | None = None, **settings: Any
    ) -> tuple[End, End]:
        """The callee has the `others`, where they are given."""
        caller = End(door, servers=servers, talks=1, listens=2, **settings)
        callee = End(flat, servers=servers if others is None else others, talks=2, listens=1, **settings)
        for end, other in ((caller, callee), (callee, caller)):
            end.on_described = lambda word, other=other: other.order(  # type: ignore[misc]
                apply={"type": word["described"], "sdp": word["sdp"], "epoch": word["epoch"]}
            )
        for end in (caller, callee):
            end.hears("ready")
        return caller, callee


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Laboratory() as lab, ExitStack() as stack:
        yield House(lab, stack, tmp_path)


def turn(address: str = RELAY, *, life_s: float = 600, transport: str = "udp") -> dict[str, Any]:
    username, credential = coturn.credentials(life_s=life_s)
    return {"urls": [f"turn:{address}?transport={transport}"], "username": username, "credential": credential}


def dial(caller: End, callee: End, epoch: int = 1) -> None:
    callee.order(start=epoch, offerer=False)
    caller.order(start=epoch, offerer=True)


def talk(caller: End, callee: End, epoch: int = 1) -> list[str]:
    """A call in which both hear each other; gives the caller's pair of candidates."""
    dial(caller, callee, epoch)
    for end in (caller, callee):
        end.hears("up", epoch)
    time.sleep(0.5)
    for end in (caller, callee):
        end.order(listen=1.5)
    heard = [end.hears("alike") for end in (caller, callee)]
    for found in heard:
        assert found["alike"] > 0.45, heard
        assert found["stranger"] < 0.35, heard
    pair: list[str] = heard[0]["pair"]
    return pair


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_symmetric_nats_on_both_sides_through_the_relay(house: House, transport: str) -> None:
    house.relay()
    caller, callee = house.ends(house.home(1)[1], house.home(2)[1], [STUN, turn(transport=transport)])
    for end in (caller, callee):
        assert {server["state"] for server in end.until_known()["servers"]} == {"good"}
    assert "relay" in talk(caller, callee)


def test_a_relay_on_a_network_without_a_router(house: House) -> None:
    """The README's way for an estate without Internet: a default route that leads nowhere."""
    house.internet = house.lab.segment("estate")
    house.relay().ip("route", "add", "default", "dev", "eth0")
    caller, callee = house.ends(house.home(1)[1], house.home(2)[1], [STUN, turn()])
    for end in (caller, callee):
        end.until_known()
    assert "relay" in talk(caller, callee)


def test_without_a_relay_symmetric_nats_let_nothing_through(house: House) -> None:
    """The control: else the test above would prove nothing."""
    house.relay()
    caller, callee = house.ends(house.home(1)[1], house.home(2)[1], [STUN], connect_limit_s=4)
    caller.until_known()
    dial(caller, callee)
    assert "no path" in caller.hears("lost")["reason"]
    assert not [word for word in caller.words if "up" in word]


def test_plain_nats_need_no_relay(house: House) -> None:
    house.relay()
    homes = house.home(1, symmetric=False)[1], house.home(2, symmetric=False)[1]
    caller, callee = house.ends(*homes, [STUN, turn()])
    for end in (caller, callee):
        end.until_known()
    assert "relay" not in talk(caller, callee)


def test_neighbours_need_no_relay(house: House) -> None:
    house.relay()
    nat, door = house.home(1)
    flat = house.lab.host("flat", nat.inside, "10.1.0.3/24")
    caller, callee = house.ends(door, flat, [STUN, turn()])
    for end in (caller, callee):
        end.until_known()
    assert talk(caller, callee) == ["host", "host"]


def test_relay_only_sends_nothing_else(house: House) -> None:
    """Neighbours that might talk directly do not, and no address of theirs is told."""
    house.relay()
    nat, door = house.home(1)
    flat = house.lab.host("flat", nat.inside, "10.1.0.3/24")
    caller, callee = house.ends(door, flat, [STUN, turn()], policy="relay")
    sent: list[str] = []
    for end in (caller, callee):
        end.until_known()
        passed_on = end.on_described
        end.on_described = lambda word, on=passed_on: (sent.append(word["sdp"]), on(word))  # type: ignore[misc]
    assert talk(caller, callee) == ["relay", "relay"]
    candidates = [line.split() for sdp in sent for line in sdp.splitlines() if line.startswith("a=candidate:")]
    assert len(candidates) == 2
    assert {line[line.index("typ") + 1] for line in candidates} == {"relay"}
    assert {line[4] for line in candidates} == {RELAY}
    assert not [sdp for sdp in sent if "10.1.0." in sdp]


def test_expired_credentials_are_named_in_the_log(house: House) -> None:
    house.relay()
    nat, door = house.home(1)
    flat = house.lab.host("flat", nat.inside, "10.1.0.3/24")
    server = turn(life_s=-60)
    caller, callee = house.ends(door, flat, [STUN, server])
    line = caller.hears("journal")
    assert line["journal"] == "ICE_CREDENTIALS_REFUSED"
    assert server["urls"][0] in line["reason"]
    assert "they expired at 20" in line["reason"]
    assert server["credential"] not in json.dumps(line)
    states = {shown["url"]: shown["state"] for shown in caller.until_known()["servers"]}
    assert states == {STUN["urls"][0]: "good", server["urls"][0]: "refused"}
    assert talk(caller, callee) == ["host", "host"], "calls do without it"


def test_silent_servers_cost_at_most_half_a_second_and_nothing_once_known(house: House) -> None:
    host = house.relay()
    host.block("udp dport 3478")
    nat, door = house.home(1)
    flat = house.lab.host("flat", nat.inside, "10.1.0.3/24")

    def described_s(servers: list[Any], *, known: bool) -> float:
        """The least of three: on a busy machine any one may take longer."""
        caller, callee = house.ends(door, flat, servers)
        if known:
            assert {shown["state"] for shown in caller.until_known()["servers"]} == {"unreachable"}
        seconds = []
        for epoch in range(1, 4):
            dial(caller, callee, epoch)
            seconds.append(caller.hears("described")["after_s"])
            if known or not servers:
                caller.hears("up", epoch)
        return float(min(seconds))

    none_s = described_s([], known=False)
    silent_s = described_s([STUN, turn()], known=False)
    known_s = described_s([STUN, turn()], known=True)
    print(f"described after {none_s:.3f} s without servers, {silent_s:.3f} with silent ones, {known_s:.3f} once known")
    assert 0.2 < silent_s - none_s <= 0.5, "before the first look: the limit of gathering"
    assert known_s - none_s < 0.1


def test_a_relay_that_dies_in_a_call_is_left_for_the_other_one(house: House) -> None:
    relays = {address: house.relay(address) for address in (RELAY, SPARE_RELAY, "203.0.113.12")}
    # Only the caller has relays, so that it is known which one the call goes through.
    stun = {"urls": ["stun:203.0.113.12"]}
    servers = [stun, turn(), turn(SPARE_RELAY)]
    caller, callee = house.ends(house.home(1)[1], house.home(2)[1], servers, [stun])
    callee.until_known()
    caller.until_known()
    caller.order(status=True)
    (used,) = [
        address for server in caller.hears("ice")["ice"]["servers"] for address in (RELAY, SPARE_RELAY)
        if server["chosen"] and address in server["url"]
    ]  # fmt: skip
    assert talk(caller, callee)[0] == "relay"
    relays[used].kill()
    caller.hears("lost", 1)
    callee.hears("lost", 1)
    assert talk(caller, callee, 2)[0] == "relay"
