"""A wire that loses and delays voice: a program that carries the IP packets between namespaces through TUN devices,
since a kernel without netem can drop but not delay.

    python -m tests.bench.audio.impaired NAMESPACE=ADDRESS…

Each namespace gets an interface `eth0` (to be given its address by whoever started this). RTP is lost and delayed, and
RTCP alike but by dice of its own; STUN, DTLS, SIP and TCP pass at once (RFC 7983 and RFC 5761 tell them apart), so that
a call comes up. The n-th voice packet of every stream in one direction has the same fate, whoever sends it.

JSON lines: `{"ready": …}`; on a `Condition` as JSON, when it began (CLOCK_MONOTONIC) and what the last one did.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET: Final = 0x40000000
_UDP: Final = 17
_IP_UDP_HEADERS: Final = 28
_RTCP_TYPES: Final = range(64, 96)
"""RFC 5761 section 4: payload types that RTP does not use where RTCP shares its port."""
INTERFACE: Final = "eth0"


@dataclass(frozen=True, slots=True)
class Condition:
    """From now on: `loss` is a ratio, `jitter_s` the most that a packet is late, evenly, each for itself; of every
    stream of voice the next `drop_next` packets are lost. `name` seeds the dice."""

    name: str
    loss: float = 0.0
    jitter_s: float = 0.0
    drop_next: int = 0


CLEAN: Final = Condition("clean")


@dataclass(slots=True)
class Stream:
    """Of one sender to one receiver, under one condition: what happened to its RTP or RTCP."""

    dice: random.Random
    drop_next: int
    seen: int = 0
    lost: int = 0
    delayed_s: float = 0.0

    def fate_s(self, condition: Condition) -> float | None:
        """How much the next packet is late; None: it is lost. Always as many dice, so that fates stay in step."""
        chance, late = self.dice.random(), self.dice.random()
        self.seen += 1
        if self.seen <= self.drop_next or chance < condition.loss:
            self.lost += 1
            return None
        self.delayed_s += late * condition.jitter_s
        return late * condition.jitter_s


@dataclass(slots=True)
class Fates:
    """Pure."""

    condition: Condition = CLEAN
    streams: dict[tuple[bytes, bytes, bool], Stream] = field(default_factory=dict)

    def change(self, condition: Condition) -> None:
        self.condition = condition
        self.streams.clear()

    def of(self, packet: bytes) -> float | None:
        """Seconds until this IPv4 packet goes on; None: never."""
        kind = rtp_type(packet)
        if kind is None:
            return 0.0
        source, target, voice = packet[12:16], packet[16:20], kind not in _RTCP_TYPES
        stream = self.streams.get((source, target, voice))
        if stream is None:
            dice = random.Random(f"{self.condition.name} {source < target} {voice}")
            stream = Stream(dice, self.condition.drop_next if voice else 0)
            self.streams[source, target, voice] = stream
        return stream.fate_s(self.condition)

    def told(self) -> dict[str, Any]:
        """By stream of voice, packets and milliseconds."""
        return {
            f"{socket.inet_ntoa(source)}>{socket.inet_ntoa(target)}": {
                "seen": of.seen,
                "lost": of.lost,
                "mean_delay_ms": round(of.delayed_s * 1000 / max(1, of.seen - of.lost), 2),
            }
            for (source, target, voice), of in self.streams.items()
            if voice
        }


def rtp_type(packet: bytes) -> int | None:
    """The payload type of this IPv4 packet, without its marker; None unless it is RTP or RTCP in UDP (RFC 3550:
    version 2)."""
    if len(packet) < _IP_UDP_HEADERS + 2 or packet[0] != 0x45 or packet[9] != _UDP:
        return None
    return packet[_IP_UDP_HEADERS + 1] & 0x7F if packet[_IP_UDP_HEADERS] >> 6 == 2 else None


class Wire:
    """The devices, and what is on its way between them."""

    def __init__(self, hosts: dict[bytes, int]) -> None:
        """File descriptors of TUN devices by address."""
        self._hosts = hosts
        self._late: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._fates = Fates()

    def run(self, orders: int) -> None:
        """Until `orders` ends."""
        while True:
            # select(2) has microseconds where epoll_wait(2) has milliseconds.
            wait_s = max(0.0, self._late[0][0] - time.monotonic()) if self._late else None
            ready, _, _ = select.select([orders, *self._hosts.values()], [], [], wait_s)
            self._send_due()
            for descriptor in ready:
                if descriptor != orders:
                    self._carry(descriptor)
                elif not self._obey(os.read(orders, 1 << 16)):
                    return

    def _carry(self, descriptor: int) -> None:
        try:
            while packet := os.read(descriptor, 1 << 16):
                late_s = self._fates.of(packet)
                if late_s == 0.0:
                    self._pass(packet)
                elif late_s is not None:
                    self._number += 1
                    heapq.heappush(self._late, (time.monotonic() + late_s, self._number, packet))
        except BlockingIOError:
            return

    def _send_due(self) -> None:
        now_s = time.monotonic()
        while self._late and self._late[0][0] <= now_s:
            self._pass(heapq.heappop(self._late)[2])

    def _pass(self, packet: bytes) -> None:
        """Broadcasts and IPv6 have no address here, and end."""
        descriptor = self._hosts.get(packet[16:20])
        if descriptor is not None:
            os.write(descriptor, packet)

    def _obey(self, lines: bytes) -> bool:
        for line in lines.splitlines():
            before, told = self._fates.condition.name, self._fates.told()
            self._fates.change(Condition(**json.loads(line)))
            now = {"began_s": time.monotonic(), "name": self._fates.condition.name}
            print(json.dumps({**now, "before": before, "streams": told}), flush=True)
        return bool(lines)


def order(condition: Condition) -> dict[str, Any]:
    """As the program reads it."""
    return asdict(condition)


def enter(namespace: str) -> None:
    """This thread, and what it opens from now on. Raises OSError (setns(2))."""
    with open(namespace, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)


def _tun(namespace: str) -> int:
    """A device in there (kernel: Documentation/networking/tuntap.rst)."""
    enter(f"/run/netns/{namespace}")
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", INTERFACE.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def main(hosts: Sequence[str]) -> None:
    """Until its input ends."""
    names = [host.partition("=")[::2] for host in hosts]
    wire = Wire({socket.inet_aton(address): _tun(namespace) for namespace, address in names})
    print(json.dumps({"ready": len(names)}), flush=True)
    wire.run(sys.stdin.fileno())


if __name__ == "__main__":
    main(sys.argv[1:])
