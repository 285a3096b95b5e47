"""The network under the station: the way to the hub in words, and what a change of it means for link and call."""

import array
import fcntl
import socket
import struct
from dataclasses import replace
from urllib.parse import urlsplit

from intercomd.adapters.netlink import source_towards
from intercomd.ports import Paths

_SIOCGIFADDR = 0x8915
"""netdevice(7)."""


def hub_host(hub_url: str) -> str:
    return urlsplit(hub_url).hostname or "localhost"


def network_path(hub_url: str) -> str:
    """Interface and address family that the kernel would use towards the hub, as `eth0 ipv4`; `none` without a route.
    Resolves no name: the event loop must not wait for a name server."""
    local = source_towards(hub_host(hub_url))
    if local is None:
        return "none"
    return "? ipv6" if ":" in local else f"{_interface(local)} ipv4"


def network_words(hub_url: str, candidate_types: str | None) -> str:
    """The journal's field NETWORK: `eth0 ipv4`, and in a call how its voice goes (`Media.candidate_types`):
    `eth0 ipv4 host-relay`."""
    return " ".join([network_path(hub_url), *([candidate_types] if candidate_types else [])])


def followed(before: Paths, now: Paths) -> Paths:
    """What later changes are compared with: a default route that is gone for a moment may come back as it was."""
    return now if now.routes else replace(now, routes=before.routes)


def link_rerouted(before: Paths, now: Paths, *, is_up: bool) -> bool:
    """Whether the connection to the hub cannot go on, or, while it is being built, had better be begun anew."""
    if not is_up:
        return now.source is not None and now.source != before.source
    if before.source is None:
        return False
    return before.source not in now.addresses or now.source not in (None, before.source)


def path_doubt(before: Paths, now: Paths, used: str | None) -> str | None:
    """Why the call's packets can hardly go on as they did, or None. `used` is the address that they leave from, where
    it is known; a call on the LAN goes on without a default route, and other interfaces' comings and goings are none of
    its business."""
    address = used or before.source
    if address is not None and address in before.addresses and address not in now.addresses:
        return f"the address {address} is gone"
    if before.routes and now.routes and (fresh := now.routes - before.routes) and before.routes - now.routes:
        return f"packets now leave {min(fresh)}"
    return None


def change_words(before: Paths, now: Paths) -> str:
    """A change for the technician."""
    words = [
        f"{name} {what}"
        for what, names in (
            ("is new", now.addresses - before.addresses),
            ("is gone", before.addresses - now.addresses),
            ("is the default route", now.routes - before.routes),
            ("has a carrier", now.carriers - before.carriers),
            ("has lost its carrier", before.carriers - now.carriers),
        )
        for name in sorted(names)
    ]
    return "; ".join(words) or f"packets to the hub now leave from {now.source or 'nowhere'}"


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
