"""One question to a STUN or TURN server: do you answer, how soon, and are these credentials good? The same library and
the same steps as in a call, but never on the path of one."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aioice import stun, turn
from aiortc.rtcicetransport import parse_stun_turn_uri

from intercomd.ports import Probed, Verdict

PROBE_LIMIT_S = 3.0
"""Three transmissions of a lost request (0, 0.5, 1.5 s; RFC 8489 section 6.2.1), and TCP's first retransmission."""
_FREED_LIMIT_S = 1.0
_LIFETIME_S = 60
"""Asked for the allocation: should the word that frees it be lost, the server forgets it soon."""
_BAD_CREDENTIALS = (401, 403, 441)
_ERRORS = {
    401: "it refuses the credentials (401)",
    403: "it forbids relaying (403)",
    441: "the credentials are another user's (441)",
    486: "this user's quota of allocations is used up (486)",
    508: "it has no relay address left (508)",
}


async def probe(url: str, username: str | None = None, credential: str | None = None) -> Probed:
    """Never raises, takes at most 4 s, and never tells the credential."""
    try:
        server = parse_stun_turn_uri(url)
    except ValueError:
        return Probed(Verdict.UNSUPPORTED, reason="this is not a URL of RFC 7064 or RFC 7065")
    if server["scheme"] == "stuns" or server.get("transport") not in (None, "udp", "tcp"):
        return Probed(Verdict.UNSUPPORTED, reason="aiortc does not speak this transport")
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            if server["scheme"] == "stun":
                return await _binding(server["host"], server["port"])
            return await _allocation(server, username, credential)
    except stun.TransactionFailed as error:
        return _refusal(error.response)
    except (TimeoutError, stun.TransactionTimeout):
        return Probed(Verdict.UNREACHABLE, reason=f"it does not answer within {PROBE_LIMIT_S:g} s")
    except ssl.SSLCertVerificationError as error:
        return Probed(Verdict.UNREACHABLE, reason=f"its certificate is not accepted: {error.verify_message}")
    except (OSError, ValueError) as error:  # ConnectionError for a broken answer, too
        return Probed(Verdict.UNREACHABLE, reason=getattr(error, "strerror", None) or str(error) or "no connection")


def _refusal(response: Any) -> Probed:
    code = response.error_code or 0
    verdict = Verdict.REFUSED if code in _BAD_CREDENTIALS else Verdict.UNREACHABLE
    return Probed(verdict, reason=_ERRORS.get(code, f"it answers with error {code}"))


class _Binding(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.transactions: dict[bytes, stun.Transaction] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        with suppress(ValueError):
            message = stun.parse_message(data)
            transaction = self.transactions.get(message.transaction_id)
            answers = message.message_class in (stun.Class.RESPONSE, stun.Class.ERROR)
            if transaction is not None and answers:
                transaction.response_received(message, addr)

    def send_stun(self, message: stun.Message, _address: Any) -> None:
        self.transport.sendto(bytes(message))


async def _binding(host: str, port: int) -> Probed:
    """RFC 8489 section 2: a request that any client may make."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Binding, remote_addr=(host, port))
    try:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        transaction = stun.Transaction(request, (host, port), protocol)
        protocol.transactions[request.transaction_id] = transaction
        begin_s = loop.time()
        await transaction.run()
        return Probed(Verdict.GOOD, loop.time() - begin_s)
    finally:
        transport.close()


class _Timed:
    """Notes how long the first answer took: the rest of an allocation repeats it with credentials."""

    round_trip_s: float | None = None

    async def request(self, request: stun.Message) -> Any:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        try:
            return await super().request(request)  # type: ignore[misc]
        finally:
            self.round_trip_s = self.round_trip_s or loop.time() - begin_s


class _Udp(_Timed, turn.TurnClientUdpProtocol): ...


class _Tcp(_Timed, turn.TurnClientTcpProtocol): ...


async def _allocation(server: dict[str, Any], username: str | None, credential: str | None) -> Probed:
    """RFC 8656 section 7, with long-term credentials; freed at once."""
    async with _turn_client(server, username, credential) as client:
        await client.connect()
        try:
            return Probed(Verdict.GOOD, client.round_trip_s)
        finally:
            with suppress(TimeoutError, OSError, stun.TransactionError):
                async with asyncio.timeout(_FREED_LIMIT_S):
                    await client.delete()


@asynccontextmanager
async def _turn_client(server: dict[str, Any], username: str | None, credential: str | None) -> AsyncIterator[Any]:
    loop, address = asyncio.get_running_loop(), (server["host"], server["port"])

    def make(kind: Any) -> Any:
        return kind(address, username, credential, _LIFETIME_S, turn.DEFAULT_CHANNEL_REFRESH_TIME)

    transport: asyncio.BaseTransport
    if server["transport"] == "tcp":
        tls = server["scheme"] == "turns" or None
        transport, client = await loop.create_connection(lambda: make(_Tcp), *address, ssl=tls)
    else:
        transport, client = await loop.create_datagram_endpoint(lambda: make(_Udp), remote_addr=address)
    try:
        yield client
    finally:
        transport.close()
