"""Who can be rung now, and when that was last proven: a heartbeat that was answered, not a socket that is open."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from intercomd.hub.api import forms
from intercomd.hub.api.gate import Gate
from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.clock import HubClock
from intercomd.hub.people import estate
from intercomd.hub.people.directory import Role
from intercomd.hub.signalling import DEAD_S
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.web.answers import answered, sent
from intercomd.hub.web.routes import Route, Who
from intercomd.ids import IdentityId

WRITE_EVERY_S: Final = 60.0


class Reachability:
    """The route, and the memory of those that went. `run()` must be running. `can_push`: whether a resident's phone can
    be woken; `minute`: of the day where the estate is."""

    def __init__(
        self,
        database: Database,
        registry: Calls,
        presence: Presence,
        gate: Gate,
        clock: HubClock,
        *,
        can_push: Callable[[IdentityId], bool] = lambda _: False,
        minute: Callable[[float], int] = lambda now_s: (
            time.localtime(now_s).tm_hour * 60 + time.localtime(now_s).tm_min
        ),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._registry = registry
        self._presence = presence
        self._gate = gate
        self._clock = clock
        self._can_push = can_push
        self._minute = minute
        self._monotonic = monotonic
        self._gone: dict[IdentityId, float] = {}

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/api/admin/reachability", self._board, "Who can be rung now, and when that was last proven.",
                  Who.ADMINISTRATOR, answer=forms.Reachability, refusals=(401, 429, 503)),
        )  # fmt: skip

    def went(self, socket: Socket) -> None:
        """A connection is gone: what it proved is kept."""
        self._gone[socket.party.identity] = self._proven(socket)

    async def run(self) -> None:
        """Write once a minute what is new, for ever: a card must not wear out by it."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """What cannot be written now is tried again."""
        gone, self._gone = self._gone, {}
        if gone:
            try:
                await estate.write_proven(self._database, gone)
            except DatabaseError:
                self._gone = gone | self._gone

    @answered
    async def _board(self, request: web.Request) -> web.Response:
        await self._gate.admit(request)
        people, _ = await estate.rows(self._database)
        proven = {IdentityId(row.id): row.last_proven_at for row in people} | self._gone
        now_s = self._clock.now_s()
        board = tuple(
            self._reach(IdentityId(row.id), proven[IdentityId(row.id)], now_s)
            for row in people
            if row.role != Role.GROUP.value and IdentityId(row.id) in self._registry.directory.identities
        )
        return sent(forms.Reachability(at=now_s, board=board))

    def _reach(self, who: IdentityId, proven: float | None, now_s: float) -> forms.Reach:
        known = self._registry.directory
        identity = known.identities[who]
        devices = self._presence.online((who,))[who]
        here = [socket for party in devices for socket in self._presence.at(party.endpoint)]
        away = [self._presence.elsewhere[party.endpoint] for party in devices if not self._presence.at(party.endpoint)]
        return forms.Reach(
            id=who,
            name=identity.name,
            role="station" if identity.role is Role.STATION else "resident",
            online=bool(devices),
            devices=len(devices),
            connected_since=min((socket.connected_at for socket in (*here, *away)), default=None),
            last_proven=max(
                (*map(self._proven, here), *(self._at_least(socket, now_s) for socket in away)), default=proven
            ),
            in_call=self._registry.is_engaged(who),
            do_not_disturb=known.policy(who).is_quiet(now_s, self._minute(now_s)),
            push=self._can_push(who),
            banned=identity.banned,
        )

    @staticmethod
    def _at_least(socket: Socket, now_s: float) -> float:
        """At another process of the hub, which would have dropped it after that much silence."""
        return max(socket.connected_at, now_s - DEAD_S)

    def _proven(self, socket: Socket) -> float:
        return self._clock.now_s() - max(0.0, self._monotonic() - socket.heard_s)
