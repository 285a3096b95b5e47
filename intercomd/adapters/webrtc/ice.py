"""What ICE may use: servers, local addresses, time. aioice's own ways are private to it; where one of them is missing,
a call works all the same, with longer waits."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aioice.ice import get_host_addresses
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy
from aiortc.rtcicetransport import parse_stun_turn_uri

from intercomd.adapters.webrtc.interfaces import interfaces, offered
from intercomd.core.vocabulary import IceServer

_log = logging.getLogger(__name__)

_EXPEDITED_FORWARDING = 0xB8
"""DSCP EF in the TOS byte (RFC 8837): Wi-Fi then takes the packets as voice."""
_CHECKS_TURN_S = 0.05
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class IceSettings:
    gather_limit_s: float
    relay_only: bool
    allow_loopback: bool
    interfaces: tuple[str, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()

    def chosen(self, addresses: list[str]) -> list[str]:
        """The host addresses to offer, of those that aioice found (none for relay only)."""
        if self.relay_only:
            return addresses
        wanted = offered(addresses, interfaces(), self.interfaces, self.exclude_interfaces)
        return wanted if addresses and not self.allow_loopback else [*wanted, LOOPBACK]


def local_addresses() -> tuple[str, ...]:
    """This machine's addresses at this moment: where they have changed, what was gathered is of no use."""
    return tuple(get_host_addresses(use_ipv4=True, use_ipv6=True))


def configuration(servers: list[RTCIceServer], *, relay_only: bool) -> RTCConfiguration:
    # An empty list, never None: None means Google's STUN server to aiortc.
    policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
    return RTCConfiguration(servers, policy, RTCBundlePolicy.MAX_BUNDLE)


def usable_servers(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """Servers whose URLs aiortc can parse. It takes the first STUN and the first usable TURN URL of them all: whoever
    orders the list chooses."""
    usable = []
    for server in servers:
        urls = [url for url in server.urls if _parses(url)]
        if urls:
            usable.append(RTCIceServer(urls, server.username, server.credential))
    return usable


def _parses(url: str) -> bool:
    try:
        parse_stun_turn_uri(url)
    except ValueError:
        _log.warning("an ICE server's URL is not one of RFC 7064 or RFC 7065 and is left out")
        return False
    return True


def bound_gathering(connection: Any, ice: IceSettings, begun: Callable[[asyncio.Future[Any]], None]) -> None:
    """A limit for silent servers (aioice waits 5 s for them), and the addresses that are wanted: loopback, which aioice
    never offers. `begun` hears of the gathering: it is to be waited for before the connection is closed."""
    gather = getattr(connection, "get_component_candidates", None)
    if gather is None:
        _log.warning("this aioice has no get_component_candidates: a silent STUN server costs 5 s per call")
        return

    async def bounded(component: int, addresses: list[str], **_: object) -> Any:
        gathering = asyncio.ensure_future(
            gather(component=component, addresses=ice.chosen(addresses), timeout=ice.gather_limit_s)
        )
        begun(gathering)
        # Cancelled in the middle, aioice would leave its queries behind: they end by the limit.
        return await asyncio.shield(gathering)

    connection.get_component_candidates = bounded


def hear_checks(connection: Any, heard: Callable[[], None]) -> None:
    """Hear of the peer's checks of its consent (RFC 7675): who asks whether it may go on sending is there. Only those
    that know our password count (RFC 8489 section 9.1)."""
    take = getattr(connection, "request_received", None)
    if take is None:
        _log.warning("this aioice has no request_received: a peer that says little is taken for lost too soon")
        return

    def taken(message: Any, addr: Any, protocol: Any) -> None:
        take(message, addr, protocol)
        signed = "MESSAGE-INTEGRITY" in message.attributes
        if signed and message.check_message_integrity(connection.local_password.encode()):
            heard()

    connection.request_received = taken


def address_in_use(connection: Any) -> str | None:
    """The local address that the nominated pair's packets leave from; None where there is none, or it is relayed."""
    pair = _nominated(connection)
    return str(pair.local_candidate.host) if pair is not None and pair.local_candidate.type == "host" else None


def candidate_types(connection: Any) -> str | None:
    """Of the nominated pair, ours first: `host-srflx` (RFC 8839 section 5.1); None where there is none."""
    pair = _nominated(connection)
    return f"{pair.local_candidate.type}-{pair.remote_candidate.type}" if pair is not None else None


def _nominated(connection: Any) -> Any:
    return next(iter(getattr(connection, "_nominated", {}).values()), None)


def mark_as_voice(connection: Any) -> None:
    """DSCP on the sockets, also on those that lead to a relay. Private API of aioice; a network that ignores it changes
    nothing."""
    for protocol in getattr(connection, "_protocols", ()):
        sock = _socket_of(protocol.transport)
        if sock is None:
            continue
        try:
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED_FORWARDING)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED_FORWARDING)
        except OSError:
            _log.debug("the voice's packets cannot be marked (DSCP)")


def _socket_of(transport: Any) -> Any:
    """A relayed transport has none of its own: it goes through the one of its TURN client."""
    client = getattr(transport, "_TurnTransport__inner_protocol", None)
    return (transport if client is None else client.transport).get_extra_info("socket")


def abandon_allocations(connection: Any) -> None:
    """Stop waiting for TURN servers to confirm that an allocation is given up; they free it by themselves (RFC 8656
    section 6)."""
    for protocol in getattr(connection, "_protocols", ()):
        task = getattr(protocol.transport, "_TurnTransport__close_task", None)
        if task is not None:
            task.cancel()


async def close_for_good(pc: RTCPeerConnection, connection: Any) -> None:
    """Closed in the moment in which it comes up, aiortc starts sender and receiver all the same, and aioice asks for
    consent (RFC 7675), for ever. One turn of the checks (20 ms) later all of that has begun, and can be ended."""
    await pc.close()
    await asyncio.sleep(_CHECKS_TURN_S)
    await asyncio.gather(*(transceiver.stop() for transceiver in pc.getTransceivers()))
    asking = getattr(connection, "_query_consent_task", None)
    if asking is not None and not asking.done():
        asking.cancel()
        await asyncio.wait({asking})
