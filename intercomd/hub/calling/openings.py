"""Doors: who may have one opened, the command to its station, and a record of every attempt.

Nothing opens that is not written down first: the row says `unconfirmed` until the station's answer is known, and stays
so if the hub dies in between. Nothing is queued: a station without a live connection is refused at once, and a command
that is not acknowledged within its time to live is not carried out any more. Rights are the hub's
(`Directory.may_open`, `may_open_in_call`) and, whatever they say, the station's own. Who asks too often is told so, and
that alone is not written down.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import sqlalchemy as sa

from intercomd.core.legs import Endpoint, HubCall
from intercomd.core.opening import permitted, talks_with
from intercomd.core.protocol import DOOR, HUB_HEARTBEAT_EVENT, Code, DoorCommand, DoorReply, OpenDoor, Reply
from intercomd.core.vocabulary import BadMessage, decode, encode
from intercomd.errors import ErrorCode
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.clock import HubClock
from intercomd.hub.limits import DOORS, Buckets
from intercomd.hub.people.directory import Directory, Role
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.storage.tables import door_openings
from intercomd.ids import CallId, IdentityId
from intercomd.ports import Journal

TTL_S: Final = 2.0
ANSWER_LIMIT_S: Final = TTL_S + 0.4
"""After this the station will not carry it out any more: who asked is told, and does not wait for nothing."""
WRITING_LIMIT_S: Final = 0.7
"""Each of the two writes; with the command all is within the dispatcher's limit."""
OPENED: Final = "opened"
UNCONFIRMED: Final = Code.UNCONFIRMED.value

_WORDS: Final = {
    Code.NOT_ALLOWED: "you may not open this door",
    Code.USER_OFFLINE: "the door's station is not connected; nothing was opened",
    Code.NO_DOOR: "this station has no door that can be opened from here",
    Code.DOOR_STUCK: "the door opener does not switch; nothing was opened",
    Code.EXPIRED: "the command came too late and was not carried out; ask again",
    Code.UNCONFIRMED: "the door's station has not answered; the door may have opened",
    Code.TRY_AGAIN: "the door's station is being connected anew; ask again",
}

Offered = Literal["always", "in_call"]
Ask = Callable[[Socket, str, dict[str, Any], float], Awaitable[object]]
"""An event to a device, its payload, how long to wait; the acknowledgement. Raises TimeoutError."""


class Tell(Protocol):
    """An event to a connection, at most once."""

    def __call__(self, sid: str, event: str, payload: dict[str, Any], /) -> Awaitable[None]: ...


class Doors:
    """`open` is the whole of it; `offered` what a resident's page shows. `directory` and `call` are looked up anew each
    time: revocation acts at once."""

    def __init__(
        self,
        database: Database,
        presence: Presence,
        journal: Journal,
        clock: HubClock,
        *,
        directory: Callable[[], Directory],
        call: Callable[[CallId], Awaitable[HubCall | None]],
        tell: Tell,
        ask: Ask,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._presence = presence
        self._journal = journal
        self._clock = clock
        self._directory = directory
        self._call = call
        self._tell = tell
        self._ask = ask
        self._monotonic = monotonic
        self._rate = Buckets(DOORS)

    def offered(self, who: IdentityId, station: IdentityId) -> Offered | None:
        """Whether there is a door at that station now which `who` may open, and when."""
        live = self._live(station)
        if live is None or DOOR not in live.capabilities:
            return None
        if self._directory().may_open(who, station):
            return "always"
        return "in_call" if self._directory().may_open_in_call(who, station) else None

    async def open(self, who: Endpoint, request: OpenDoor) -> Reply:
        """Carry the request out. Raises `DatabaseError` or `TimeoutError` when it cannot be written down: then nothing
        was opened."""
        if not self._rate.take(who.identity, self._monotonic()):
            return Reply(ok=False, code=Code.RATE_LIMITED, message="too many doors; wait a moment")
        station = IdentityId(request.station_id)
        call = await self._call(CallId(request.call_id)) if request.call_id is not None else None
        talking = talks_with(call, who, station)
        attempt = _Attempt(secrets.token_hex(16), who.identity, station, request.call_id if talking else None)
        live = self._live(station)
        refusal = self._refusal(who.identity, station, talking, live)
        if refusal is not None or live is None:
            code = refusal or Code.USER_OFFLINE
            await self._write(attempt, code.value, "")
            return self._refused(attempt, code, "")
        await self._write(attempt, UNCONFIRMED, "")
        reply = await self._command(live, attempt.command_id)
        return await self._settled(attempt, reply)

    def _refusal(self, who: IdentityId, station: IdentityId, talking: bool, live: Socket | None) -> Code | None:
        """Who may not is told nothing else: neither whether there is such a station nor whether it is there."""
        directory = self._directory()
        always, in_call = directory.may_open(who, station), directory.may_open_in_call(who, station)
        identity = directory.identities.get(station)
        is_station = identity is not None and identity.role is Role.STATION
        if not is_station or not permitted(always=always, in_call=in_call, talking=talking):
            return Code.NOT_ALLOWED
        if live is None:
            return Code.USER_OFFLINE
        return None if DOOR in live.capabilities else Code.NO_DOOR

    def _live(self, station: IdentityId) -> Socket | None:
        """The station's newest connection."""
        parties = self._presence.online((station,))[station]
        newest = (self._presence.newest(party.endpoint) for party in parties)
        sockets = [socket for socket in newest if socket is not None and not socket.legacy]
        return max(sockets, key=lambda socket: socket.connected_at, default=None)

    async def _command(self, live: Socket, command_id: str) -> DoorReply:
        """The hub's time just before the command: its time to live counts from there, by that clock."""
        command = DoorCommand(command_id, round(TTL_S * 1000))
        try:
            await self._tell(live.sid, HUB_HEARTBEAT_EVENT, {"t": self._clock.now_s()})
            answer = await self._ask(live, DoorCommand.event, encode(command), ANSWER_LIMIT_S)
            return decode(DoorReply, answer)
        except TimeoutError:
            return DoorReply(ok=False, code=Code.UNCONFIRMED, message=f"no answer within {ANSWER_LIMIT_S:g} s")
        except BadMessage as error:
            return DoorReply(ok=False, code=Code.UNCONFIRMED, message=f"the station's answer: {error}"[:512])

    async def _settled(self, attempt: "_Attempt", reply: DoorReply) -> Reply:
        """What has happened is told whether or not it can be written; the row says `unconfirmed` until it is."""
        opened = reply.ok and reply.switched
        code = reply.code or Code.UNCONFIRMED
        with suppress(DatabaseError, TimeoutError):
            await self._write_outcome(attempt, OPENED if opened else code.value, reply.message)
        if not opened:
            return self._refused(attempt, code, reply.message)
        message = f"{attempt.who} opens the door of {attempt.station}."
        self._journal.report(ErrorCode.DOOR_OPENED, message, **attempt.fields)
        return Reply(ok=True)

    def _refused(self, attempt: "_Attempt", code: Code, reason: str) -> Reply:
        words = _WORDS.get(code, "the door was not opened")
        message = f"{attempt.who} does not open the door of {attempt.station}: {words}."
        told = f"{code.value}: {reason}" if reason else code.value
        self._journal.report(ErrorCode.DOOR_REFUSED, message, REASON=told, **attempt.fields)
        return Reply(ok=False, code=code, message=words)

    async def _write(self, attempt: "_Attempt", outcome: str, reason: str) -> None:
        row = {
            "command_id": attempt.command_id,
            "at": self._clock.now_s(),
            "who": attempt.who,
            "station_id": attempt.station,
            "call_id": attempt.call_id,
            "outcome": outcome,
            "reason": reason,
        }
        async with asyncio.timeout(WRITING_LIMIT_S), self._database.transaction() as connection:
            await connection.execute(sa.insert(door_openings), [row])

    async def _write_outcome(self, attempt: "_Attempt", outcome: str, reason: str) -> None:
        mine = sa.update(door_openings).where(door_openings.c.command_id == attempt.command_id)
        async with asyncio.timeout(WRITING_LIMIT_S), self._database.transaction() as connection:
            await connection.execute(mine.values(outcome=outcome, reason=reason))


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Somebody wants a door opened."""

    command_id: str
    who: IdentityId
    station: IdentityId
    call_id: str | None

    @property
    def fields(self) -> dict[str, str | int | float]:
        call: dict[str, str | int | float] = {"CALL_ID": self.call_id} if self.call_id else {}
        return {"USER_ID": self.who, "PEER": self.station, "COMMAND_ID": self.command_id, **call}
