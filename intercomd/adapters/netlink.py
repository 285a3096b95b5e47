"""The kernel's word on the network, by rtnetlink(7): which addresses there are, which way packets leave.

A roam, a pulled cable or a new lease makes a handful of messages within some 100 ms; they are only a hint to look. What
is looked at comes from dumps of the kernel's tables, compared as a whole, so that no message's meaning matters and a
lost one (ENOBUFS) costs nothing.
"""

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Callable, Iterator

from intercomd.ports import Paths

QUIET_S = 0.15
"""So long after the last message the picture is taken ..."""
PATIENCE_S = 1.0
"""... and so long after the first one at the latest."""

_LINK, _IPV4_ADDRESS, _IPV4_ROUTE, _IPV6_ADDRESS, _IPV6_ROUTE = 0x1, 0x10, 0x40, 0x100, 0x400
_GROUPS = _LINK | _IPV4_ADDRESS | _IPV4_ROUTE | _IPV6_ADDRESS | _IPV6_ROUTE
"""RTMGRP_*, <linux/rtnetlink.h>."""
_DONE, _ERROR = 3, 2
_GET_LINK, _GET_ADDRESS, _GET_ROUTE = 18, 22, 26
_REQUEST_DUMP = 0x1 | 0x300
_TENTATIVE, _FAILED = 0x40, 0x08
"""IFA_F_TENTATIVE, IFA_F_DADFAILED: nothing can be sent from it (RFC 4862 section 5.4)."""
_UP_AND_RUNNING = 0x1 | 0x40
_MAIN_TABLE, _UNICAST = 254, 1
_DUMP_BYTES = 1 << 16
_DUMP_LIMIT_S = 0.5

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_IFADDR = struct.Struct("=BBBBI")
_IFINFO = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=BBBBBBBBI")

_FAMILIES = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
_FAR = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Somewhere on the internet (RFC 5737, RFC 3849). Nothing is sent there."""


class NetlinkNetwork:
    """`ports.Network`. `towards` is the hub's host; a name is not resolved (that could take seconds): the way to it is
    the way to anywhere."""

    def __init__(self, towards: str) -> None:
        self._towards = towards

    def paths(self) -> Paths:
        """The picture of this moment; takes well under a millisecond. Raises OSError where there is no rtnetlink."""
        names = dict(_interfaces())
        return Paths(
            frozenset(_addresses()),
            frozenset(_default_routes(names)),
            frozenset(name for name, running in names.values() if running),
            source_towards(self._towards),
        )

    async def run(self, on_change: Callable[[Paths], None]) -> None:
        loop = asyncio.get_running_loop()
        stirred = asyncio.Event()
        with _socket() as listener:
            listener.bind((0, _GROUPS))
            last = self.paths()
            loop.add_reader(listener, _drain, listener, stirred.set)
            try:
                while True:
                    await stirred.wait()
                    await _calm(stirred)
                    now = self.paths()
                    if now != last:
                        last = now
                        on_change(now)
            finally:
                loop.remove_reader(listener)


async def _calm(stirred: asyncio.Event) -> None:
    """Until nothing has come for `QUIET_S`, or `PATIENCE_S` are over."""

    async def quiet() -> None:
        while stirred.is_set():
            stirred.clear()
            await asyncio.sleep(QUIET_S)

    try:
        await asyncio.wait_for(quiet(), PATIENCE_S)
    except TimeoutError:
        stirred.clear()


def source_towards(host: str) -> str | None:
    """The address that packets to `host` would leave from, None without a route. Connecting a datagram socket only
    asks the routing table."""
    for family in _FAMILIES:
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return _source(family, host)
    if host == "localhost":
        return "127.0.0.1"
    return _source(socket.AF_INET, _FAR[socket.AF_INET]) or _source(socket.AF_INET6, _FAR[socket.AF_INET6])


def _source(family: socket.AddressFamily, host: str) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)


def _drain(listener: socket.socket, stir: Callable[[], None]) -> None:
    while True:
        try:
            listener.recv(_DUMP_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # messages were lost: all the more reason to look
                raise
        stir()


def _interfaces() -> Iterator[tuple[int, tuple[str, bool]]]:
    """(index, (name, carrier))."""
    for message in _dump(_GET_LINK, _IFINFO.pack(0, 0, 0, 0, 0)):
        _, _, index, flags, _ = _IFINFO.unpack_from(message)
        name = _attributes(message, _IFINFO.size).get(3, b"").rstrip(b"\0").decode()  # IFLA_IFNAME
        yield index, (name, flags & _UP_AND_RUNNING == _UP_AND_RUNNING)


def _addresses() -> Iterator[str]:
    for message in _dump(_GET_ADDRESS, _IFADDR.pack(0, 0, 0, 0, 0)):
        family, _, flags, _, _ = _IFADDR.unpack_from(message)
        attributes = _attributes(message, _IFADDR.size)
        raw = attributes.get(2) or attributes.get(1)  # IFA_LOCAL, or IFA_ADDRESS (of a point-to-point link: the peer's)
        if family in _FAMILIES and raw is not None and not flags & (_TENTATIVE | _FAILED):
            yield socket.inet_ntop(family, raw)


def _default_routes(names: dict[int, tuple[str, bool]]) -> Iterator[str]:
    """Of each family the one that is used, as `ipv4 via 192.0.2.1 dev eth0`."""
    best: dict[int, tuple[int, str]] = {}
    for message in _dump(_GET_ROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, bits, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(message)
        if bits or table != _MAIN_TABLE or kind != _UNICAST or family not in _FAMILIES:
            continue
        attributes = _attributes(message, _ROUTE.size)
        metric = int.from_bytes(attributes.get(6, b""), sys.byteorder)  # RTA_PRIORITY
        gateway = attributes.get(5)  # RTA_GATEWAY
        index = struct.unpack("=i", attributes[4])[0] if 4 in attributes else 0  # RTA_OIF
        via = f" via {socket.inet_ntop(family, gateway)}" if gateway else ""
        route = f"{_FAMILIES[family]}{via} dev {names.get(index, ('?', False))[0]}"
        best[family] = min(best.get(family, (metric, route)), (metric, route))
    return iter(route for _, route in best.values())


def _dump(kind: int, body: bytes) -> Iterator[bytes]:
    """The bodies of a table's messages. The kernel answers at once; the limit is for what it should never do."""
    with _socket() as asking:
        asking.settimeout(_DUMP_LIMIT_S)
        asking.bind((0, 0))
        asking.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_DUMP, 1, 0) + body)
        while True:
            block = memoryview(asking.recv(_DUMP_BYTES))
            while len(block) >= _HEADER.size:
                length, what, _, _, _ = _HEADER.unpack_from(block)
                if what == _DONE:
                    return
                if what == _ERROR:
                    number = -struct.unpack_from("=i", block, _HEADER.size)[0]
                    raise OSError(number, "the kernel does not show its network tables")
                yield bytes(block[_HEADER.size : length])
                block = block[(length + 3) & ~3 :]


def _attributes(message: bytes, offset: int) -> dict[int, bytes]:
    found = {}
    while offset + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = message[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found
