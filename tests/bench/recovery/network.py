"""The house's network: a wire with the hub, the door, a machine for relays and a resident's browser, and a router
behind which the flat is.

    hub .1   turn .2 .3   door .11   router .21 ── flat 10.88.0.2   page .31        all in 10.77.0.0/24
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Self

from tests.netns.laboratory import Host, Laboratory

HUB, TURN, DOOR, FLAT, PAGE = "hub", "turn", "door", "flat", "page"
ADDRESSES: Final = {HUB: "10.77.0.1", TURN: "10.77.0.2", DOOR: "10.77.0.11", PAGE: "10.77.0.31"}
SECOND_TURN: Final = "10.77.0.3"
ELSEWHERE: Final = "10.77.0.12"
"""Where the door roams to."""
_PREFIX: Final = "/24"


class Network:
    """`with Network() as network:` Needs root. Outside of it nothing of the machine's network changes."""

    def __init__(self) -> None:
        self._laboratory = Laboratory()
        self._hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        self._laboratory.__enter__()
        try:
            self._build()
        except BaseException:  # Ctrl-C too: no namespace is left behind
            self._laboratory.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._laboratory.close()

    def inside(self, room: str, argv: Sequence[str]) -> list[str]:
        """The command, to be run there. The pid stays the program's."""
        return self._hosts[room].argv(argv)

    # ---- what breaks

    def pull(self, room: str) -> None:
        """Its cable: the kernel sees that and takes the address away."""
        self._hosts[room].link(up=False)

    def plug_in(self, room: str) -> None:
        self._hosts[room].link(up=True)

    def swallow(self, room: str) -> None:
        """A black hole somewhere beyond: nobody sees anything but silence."""
        self._hosts[room].block()

    def lose(self, room: str, ratio: float) -> None:
        """At random, of all its packets, both ways."""
        self._hosts[room].lose(ratio)

    def heal(self, room: str) -> None:
        """Neither `swallow` nor `lose` any more."""
        self._hosts[room].unblock()

    def roam(self) -> None:
        """The door gets another address, or its first one again; the one before is nobody's."""
        door = self._hosts[DOOR]
        other = ELSEWHERE if door.address.startswith(ADDRESSES[DOOR]) else ADDRESSES[DOOR]
        door.readdress(other + _PREFIX)

    def rebind(self) -> None:
        """The router before the flat forgets its mappings and makes other ones."""
        self._router.rebind()

    def count_packets(self, room: str, ports: Mapping[str, tuple[int, int]]) -> None:
        """From now on, by name, those that come to these ranges of UDP ports."""
        counters = "".join(f"counter {name} {{ }}\n" for name in ports)
        rules = "".join(f"udp dport {first}-{last} counter name {name}\n" for name, (first, last) in ports.items())
        chain = f"chain counting {{\ntype filter hook input priority -10\n{rules}}}\n"
        again = "add table inet counts\ndelete table inet counts\n"
        self._hosts[room].nft(f"{again}table inet counts {{\n{counters}{chain}}}\n")

    def counted_packets(self, room: str) -> dict[str, int]:
        listed = json.loads(self._hosts[room].run("nft", "-j", "list", "counters", "table", "inet", "counts"))
        counters = [entry["counter"] for entry in listed["nftables"] if "counter" in entry]
        return {counter["name"]: int(counter["packets"]) for counter in counters}

    # ---- inside

    def _build(self) -> None:
        wire = self._laboratory.segment("wire")
        for room, address in ADDRESSES.items():
            self._hosts[room] = self._laboratory.host(room, wire, address + _PREFIX)
        self._hosts[TURN].ip("address", "add", SECOND_TURN + _PREFIX, "dev", "eth0")
        # Each destination has a mapping of its own, with a port at random: when it is forgotten, it changes.
        self._router = self._laboratory.nat(
            "router", wire, f"10.77.0.21{_PREFIX}", inside="10.88.0.1/24", symmetric=True
        )
        self._hosts[FLAT] = self._laboratory.host(FLAT, self._router.inside, "10.88.0.2/24")
