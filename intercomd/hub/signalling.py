"""One dispatcher for everything that clients say: authenticated, limited, validated, answered.

Every event gets an acknowledgement, also one of an unknown name, of the wrong shape, or one that ran into a
fault of ours. Who a client is comes from its token alone; nothing in a payload can claim another identity."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import UNSET

from intercomd.core.legs import Endpoint, Party
from intercomd.core.protocol import (
    HUB_HEARTBEAT_EVENT,
    PROTOCOL_VERSION,
    REQUESTS,
    AcceptCall,
    CallMetrics,
    CancelCall,
    Code,
    ConnectAuth,
    EndCall,
    Heartbeat,
    InitiateCall,
    Notice,
    OpenDoor,
    ProlongCall,
    RejectCall,
    RejoinCall,
    Reply,
    Request,
    Resync,
    SetDoNotDisturb,
    UploadRecords,
    WebrtcAnswer,
    WebrtcIceCandidate,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.vocabulary import BadMessage, decode, encode
from intercomd.errors import ErrorCode
from intercomd.hub import legacy
from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.openings import Doors
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.clock import HubClock
from intercomd.hub.history import records
from intercomd.hub.limits import CONNECTS, EVENTS, OPENINGS, PATIENCE, WISHES, Buckets
from intercomd.hub.people.directory import Identity, digest
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.transport import Refused
from intercomd.hub.turn import IceOffer
from intercomd.ids import IdentityId, InstanceId
from intercomd.ports import Journal

HEARTBEAT_S = 5.0
DEAD_S = 15.0
"""A client that neither asks nor acknowledges anything for this long is gone, whatever TCP says."""
REPLY_LIMIT_S = 4.0
"""Clients stop waiting after 5 s."""

BEATS_AT_ONCE = 8
"""A heartbeat to a thousand clients takes a tenth of a second and more: a ring must not wait for all of them."""


class Wire(Protocol):
    """What is needed of the transport."""

    async def emit(
        self, sid: str, event: str, payload: dict[str, Any], heard: Callable[[], None] | None = None
    ) -> None: ...
    def drop(self, sid: str) -> None: ...


class Signalling:
    """The transport's listener. `wire` and `doors` are set once, by whoever builds the transport."""

    wire: Wire
    quieten: Callable[[IdentityId, float | None], Awaitable[None]]
    """Nobody rings at this identity until then. Set once, by whoever keeps the directory."""
    doors: Doors

    def __init__(
        self,
        registry: Calls,
        presence: Presence,
        database: Database,
        journal: Journal,
        *,
        clock: HubClock,
        ice: IceOffer,
        heartbeat_s: float = HEARTBEAT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._presence = presence
        self._database = database
        self._journal = journal
        self._clock = clock
        self._ice = ice
        self._heartbeat_s = heartbeat_s
        self._monotonic = monotonic
        self._openings = Buckets(OPENINGS)
        self._failures = Buckets(CONNECTS)
        self._connects = Buckets(CONNECTS)
        self._events = Buckets(EVENTS)
        self._patience = Buckets(PATIENCE)
        self._wishes = Buckets(WISHES)
        self.is_stopping = False
        """No new calls and no new clients; those that are there are served to the end."""
        self.on_refusal: Callable[[Code], None] = lambda _code: None
        self.on_gone: Callable[[Socket], None] = lambda _socket: None
        """Hears of connections, and of requests that came too often."""
        self.on_answer: Callable[[str, Code | None, float], None] = lambda _event, _code, _took_s: None
        """Hears of every other request: the event, why it was refused if it was, how long it took."""

    # ---------------------------------------------------------------------------------------- connections

    def may_open(self, address: str) -> bool:
        """Before anything is known of it: wide enough for a whole house that comes back after a restart."""
        if self.is_stopping:
            return False
        allowed = self._openings.take(address, self._monotonic())
        if not allowed:
            self.on_refusal(Code.RATE_LIMITED)
        return allowed

    def connecting(self, sid: str, address: str, auth: object, session: str = "") -> Socket:
        """Accept a client or raise `Refused`. What is wrong costs its address, what is right its identity: somebody
        who guesses is slowed down, and cannot keep out a neighbour behind the same address."""
        now_s = self._monotonic()
        try:
            return self._identify(sid, auth, session, now_s)
        except Refused as refused:
            self.on_refusal(refused.code)
            self._report_refusal(address, refused.message)
            if refused.code is Code.UNAUTHORISED and not self._failures.take(address, now_s):
                message = "too many failed attempts from this address; try again later"
                raise Refused(Code.RATE_LIMITED, message) from refused
            raise

    def _identify(self, sid: str, auth: object, session: str, now_s: float) -> Socket:
        credentials = _credentials(auth)
        identity, secret = self._who(credentials.token, session)
        if credentials.protocol not in (None, PROTOCOL_VERSION):
            message = f"this hub speaks protocol {PROTOCOL_VERSION}; install matching versions"
            raise Refused(Code.PROTOCOL_UNSUPPORTED, message)
        if not self._connects.take(identity.id, now_s):
            raise Refused(Code.RATE_LIMITED, "too many connections of this identity; try again later")
        legacy = credentials.protocol is None
        instance = None if legacy else credentials.instance
        return Socket(
            sid=sid,
            party=_party(identity, InstanceId(instance or f"socket-{sid}")),
            legacy=legacy,
            token_sha256=digest(secret),
            heard_s=now_s,
            connected_at=self._clock.now_s(),
            capabilities=frozenset(credentials.capabilities),
        )

    def _who(self, token: str | None, session: str) -> tuple[Identity, str]:
        """By the token in `auth`, or by the cookie of a page, which has none."""
        if token is not None:
            token = token.removeprefix("Bearer ")
            identity = self._registry.directory.by_token(token)
            if identity is None and self._registry.directory.is_banned(token, ""):
                raise Refused(Code.BANNED, "banned by an administrator of this hub")
            if identity is None:
                raise Refused(Code.UNAUTHORISED, "the token is unknown or revoked; ask for a new one")
            return identity, token
        identity = self._registry.directory.by_session(session, self._clock.now_s())
        if identity is None and self._registry.directory.is_banned("", session):
            raise Refused(Code.BANNED, "banned by an administrator of this hub")
        if identity is None:
            raise Refused(Code.UNAUTHORISED, "not signed in; ask for an invitation")
        return identity, session

    def _report_refusal(self, address: str, reason: str) -> None:
        if self._patience.take("refusals", self._monotonic()):
            self._journal.report(ErrorCode.CLIENT_REFUSED, REASON=reason, NETWORK=address)

    async def connected(self, socket: Socket) -> None:
        """A legacy client never resyncs: it counts as present at once, and what rings for it is told."""
        self._presence.add(socket)
        identity = socket.party.identity
        self._journal.report(ErrorCode.CLIENT_CONNECTED, f"{identity} is connected.", USER_ID=identity)
        if socket.legacy:
            await self._return(socket)

    def disconnected(self, sid: str) -> None:
        socket = self._presence.remove(sid)
        self._patience.forget(sid)
        if socket is None:
            return
        self.on_gone(socket)
        identity = socket.party.identity
        self._journal.report(ErrorCode.CLIENT_GONE, f"{identity} is not connected any more.", USER_ID=identity)
        if not self._presence.at(socket.endpoint):
            self._registry.vanished(socket.endpoint)

    def misbehaved(self, address: str, reason: str) -> None:
        self._failures.take(address, self._monotonic())
        if self._patience.take("misbehaviour", self._monotonic()):
            self._journal.report(ErrorCode.BAD_MESSAGE, REASON=reason, NETWORK=address)

    def revoke(self) -> None:
        """Disconnect those whose token the directory does not know any more, and end their talk: what they hear and
        say does not go through the hub."""
        for socket in self._presence:
            if not self._registry.directory.knows(socket.token_sha256):
                self._registry.leave(socket.endpoint)
                self.wire.drop(socket.sid)

    # ------------------------------------------------------------------------------------------- requests

    def takes_long(self, message: object) -> bool:
        """A door's station is waited for; a hang-up meanwhile is not kept waiting."""
        return isinstance(message, list) and message[:1] == [OpenDoor.event]

    async def received(self, sid: str, message: object) -> dict[str, Any]:
        """One event of a client; the acknowledgement. Never raises."""
        socket = self._presence.get(sid)
        if socket is None:
            return encode(Reply(ok=False, code=Code.UNAUTHORISED, message="connect first"))
        now_s = self._monotonic()
        socket.heard_s = now_s
        if not self._events.take(socket.party.identity, now_s):
            self.on_refusal(Code.RATE_LIMITED)
            return encode(self._limit(socket, now_s))
        if socket.legacy and isinstance(message, list) and message[:1] == [legacy.PING]:
            payload = message[1] if len(message) > 1 else None
            await self.wire.emit(sid, legacy.PONG, legacy.pong(payload, self._clock.now_s()))
            return encode(Reply(ok=True))
        reply = await self._reply(socket, message)
        self.on_answer(_event(message), reply.code, self._monotonic() - now_s)
        return encode(reply)

    def _limit(self, socket: Socket, now_s: float) -> Reply:
        """Told first, then disconnected."""
        if not self._patience.take(socket.sid, now_s):
            self._report_refusal(socket.party.identity, "it went on after being told that it asks too often")
            self.wire.drop(socket.sid)
        return Reply(ok=False, code=Code.RATE_LIMITED, message="too many requests; wait a moment")

    async def _reply(self, socket: Socket, message: object) -> Reply:
        try:
            request = parse(message)
        except UnknownEvent as error:
            return Reply(ok=False, code=Code.UNKNOWN_EVENT, message=str(error))
        except BadMessage as error:
            return Reply(ok=False, code=Code.BAD_REQUEST, message=str(error))
        try:
            async with asyncio.timeout(REPLY_LIMIT_S):
                return await self._carry_out(socket, request)
        except (DatabaseError, TimeoutError) as error:
            self._journal.report(ErrorCode.STORE_FAILING, "A request could not be carried out.", REASON=str(error))
            return Reply(ok=False, code=Code.TRY_AGAIN, message="the hub is not able to at the moment; try again")
        except Exception as error:  # noqa: BLE001  (the dispatcher is an interpreter's main: it always answers)
            stack = "".join(traceback.format_exception(error))
            self._journal.report(ErrorCode.INTERNAL, f"{request.event} failed in the hub.", STACK=stack)
            return Reply(ok=False, code=Code.INTERNAL, message="the hub failed; its journal says how")

    async def _carry_out(self, socket: Socket, request: Request) -> Reply:
        match request:
            case Resync():
                socket.resynced = True
                calls = await self._registry.resync(socket.party, request.calls)
                servers = self._ice.servers(socket.party.identity)
                quiet = self._registry.directory.policy(socket.party.identity).do_not_disturb_until
                return Reply(
                    ok=True,
                    calls=calls,
                    server_time=self._clock.now_s(),
                    do_not_disturb_until=UNSET if quiet is None else quiet,
                    ice_servers=servers,
                )
            case Heartbeat():
                return Reply(ok=True, server_time=self._clock.now_s())
            case OpenDoor():
                await self._return(socket)
                return await self.doors.open(socket.endpoint, request)
            case SetDoNotDisturb():
                if not self._wishes.take(socket.party.identity, self._monotonic()):
                    return Reply(ok=False, code=Code.RATE_LIMITED, message="too many wishes; wait a moment")
                await self.quieten(socket.party.identity, request.until)
                return Reply(ok=True)
            case UploadRecords():
                await records.upload(self._database, socket.party.identity, request.records)
                return Reply(ok=True)
            case InitiateCall() if self.is_stopping:
                return Reply(ok=False, code=Code.TRY_AGAIN, message="the hub is being restarted; try again in a moment")
            case InitiateCall():
                await self._return(socket)
                return await self._registry.initiate(socket.party, request)
            case (
                AcceptCall() | RejectCall() | CancelCall() | EndCall() | RejoinCall() | CallMetrics()
                | WebrtcOffer() | WebrtcAnswer() | WebrtcIceCandidate() | WebrtcRestart() | ProlongCall()
            ):  # fmt: skip
                await self._return(socket)
                return await self._registry.request(socket.endpoint, request)
            case _:
                raise AssertionError(f"{type(request).__name__} is in REQUESTS and nobody carries it out")

    async def _return(self, socket: Socket) -> None:
        """Whoever speaks is there, also one that forgot to resync."""
        if not socket.resynced:
            socket.resynced = True
            await self._registry.returned(socket.party)

    # ------------------------------------------------------------------------------------------- delivery

    async def deliver(self, to: Endpoint, notice: Notice) -> None:
        """To every socket of the device: the newest is the live one, an older one may still be."""
        sockets = self._presence.at(to)
        if sockets:
            payload = encode(notice)
            for socket in sockets:
                await self.wire.emit(socket.sid, notice.event, payload)

    async def beat(self) -> None:
        """Heartbeats, for ever."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self.beat_once()

    async def beat_once(self) -> None:
        """A heartbeat to everybody; those that have been silent for too long are dropped."""
        self._registry.rest()
        self._registry.review()
        payload = {"t": self._clock.now_s()}
        for number, socket in enumerate(tuple(self._presence)):
            if number % BEATS_AT_ONCE == BEATS_AT_ONCE - 1:
                await asyncio.sleep(0)
            if socket.legacy:
                continue  # answers no event it does not know; the transport's ping watches it
            if self._monotonic() - socket.heard_s > DEAD_S:
                who = socket.party.identity
                self._journal.report(ErrorCode.CLIENT_GONE, f"{who} answers no heartbeat.", USER_ID=who)
                self.wire.drop(socket.sid)
            else:
                await self._ask(socket, payload)

    async def _ask(self, socket: Socket, payload: dict[str, Any]) -> None:
        """At most one acknowledgement is waited for: the library keeps a callback for each until it comes."""

        def heard() -> None:
            socket.owes_beat = False
            socket.heard_s = self._monotonic()

        if socket.owes_beat:
            await self.wire.emit(socket.sid, HUB_HEARTBEAT_EVENT, payload)
        else:
            socket.owes_beat = True
            await self.wire.emit(socket.sid, HUB_HEARTBEAT_EVENT, payload, heard)


class UnknownEvent(BadMessage):
    """No request has this name."""


def parse(message: object) -> Request:
    """The request in a Socket.IO event `[name, payload]`. Raises `BadMessage`."""
    if not isinstance(message, list) or not message or not isinstance(message[0], str):
        raise BadMessage("Expected an event: its name and one object")
    kind = REQUESTS.get(message[0])
    if kind is None:
        raise UnknownEvent("this hub does not know this event")
    if len(message) > 2:
        raise BadMessage("Expected one object after the event's name")
    return decode(kind, message[1] if len(message) == 2 else {})


def _event(message: object) -> str:
    """The name in `[name, payload]`, if there is one."""
    return message[0] if isinstance(message, list) and message and isinstance(message[0], str) else ""


def _credentials(auth: object) -> ConnectAuth:
    try:
        return decode(ConnectAuth, auth)
    except BadMessage as error:
        raise Refused(Code.UNAUTHORISED, f"auth: {error}") from None


def _party(identity: Identity, instance: InstanceId) -> Party:
    return Party(identity.id, instance, identity.name, identity.role.value)
