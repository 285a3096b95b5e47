"""The way to the hub, for the journal's NETWORK field."""

import array
import fcntl
import socket
import struct
from urllib.parse import urlsplit

_SIOCGIFADDR = 0x8915
"""netdevice(7)."""


def network_path(hub_url: str) -> str:
    """Interface and address family that the kernel would use, as `eth0 ipv4`; `none` without a route. Sends nothing:
    connecting a datagram socket only asks the routing table."""
    parts = urlsplit(hub_url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 443
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            local = probe.getsockname()[0]
    except OSError:
        return "none"
    name = "ipv6" if family is socket.AF_INET6 else "ipv4"
    return f"{_interface(local) if family is socket.AF_INET else '?'} {name}"


def _interface(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = array.array("B", struct.pack("256s", name[:15].encode()))
            try:
                fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            if socket.inet_ntoa(request.tobytes()[20:24]) == address:
                return name
    return "lo" if address.startswith("127.") else "?"
