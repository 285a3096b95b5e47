"""Which interface an address of this machine belongs to, and which of them are to be offered to peers."""

import array
import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

_SIOCGIFCONF = 0x8912
"""netdevice(7): all IPv4 addresses, each with its interface's name."""
_MAX_ADDRESSES = 256
_IFREQ = struct.Struct("16s4x4s16x" if sys.maxsize > 2**32 else "16s4x4s8x")
"""struct ifreq with a sockaddr_in: name, family and port, address; and what its union is longer than that."""
_IF_INET6 = Path("/proc/net/if_inet6")


def interfaces() -> dict[str, str]:
    """Names by address, of both families. What the kernel does not tell is left out."""
    try:
        return _ipv4() | _ipv6()
    except OSError:
        return {}


def _ipv4() -> dict[str, str]:
    buffer = array.array("B", bytes(_MAX_ADDRESSES * _IFREQ.size))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
        length = struct.unpack("iP", fcntl.ioctl(sock.fileno(), _SIOCGIFCONF, request))[0]
    found = _IFREQ.iter_unpack(buffer.tobytes()[:length])
    # An alias (`eth0:1`) is a name of its own here.
    return {socket.inet_ntoa(address): _text(name).partition(":")[0] for name, address in found}


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode(errors="replace")


def _ipv6() -> dict[str, str]:
    if not _IF_INET6.exists():  # a kernel without IPv6
        return {}
    rows = (line.split() for line in _IF_INET6.read_text().splitlines())
    return {str(ipaddress.IPv6Address(bytes.fromhex(row[0]))): row[5] for row in rows if len(row) == 6}


def offered(
    addresses: Sequence[str], names: Mapping[str, str], wanted: Sequence[str], unwanted: Sequence[str]
) -> list[str]:
    """Those of `wanted` interfaces (all, where there is no pattern); of these not the `unwanted` ones, while there are
    others: a pattern that hits too much must not take the last address."""
    allowed = [address for address in addresses if not wanted or _matches(names.get(address), wanted)]
    return [address for address in allowed if not _matches(names.get(address), unwanted)] or allowed


def _matches(name: str | None, patterns: Sequence[str]) -> bool:
    return name is not None and any(fnmatchcase(name, pattern) for pattern in patterns)
