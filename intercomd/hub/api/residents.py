"""What a resident's page asks over HTTP: signing in and out, whom they may call, and their own calls.

Nobody is told more than concerns them: of a call that somebody else of their group has answered, not who it was.
"""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa
from aiohttp import web

from intercomd.errors import ErrorCode
from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.openings import Offered
from intercomd.hub.calling.presence import Presence
from intercomd.hub.clock import HubClock
from intercomd.hub.history import records
from intercomd.hub.limits import CONNECTS, Buckets
from intercomd.hub.people import sessions
from intercomd.hub.people.directory import Identity, Role, digest
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.web.routes import Query, Route, Who
from intercomd.hub.web.site import Site
from intercomd.ids import IdentityId
from intercomd.ports import Journal

MAX_BODY_BYTES: Final = 4096
CALLS: Final = 30
MAX_CALLS: Final = 100


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/session`."""

    code: str


class Resident(msgspec.Struct, frozen=True):
    name: str


class SignedIn(msgspec.Struct, frozen=True):
    """Null: nobody."""

    resident: Resident | None


class Reachable(msgspec.Struct, frozen=True):
    """Somebody who may be called: a station or a group."""

    id: str
    name: str
    role: str
    online: bool


class OwnDoor(msgspec.Struct, frozen=True):
    """A station that is there, with a door that this resident may open: always, or in a call with it."""

    id: str
    name: str
    when: Literal["always", "in_call"]


class Reachables(msgspec.Struct, frozen=True):
    entries: tuple[Reachable, ...]
    doors: tuple[OwnDoor, ...]


class OwnCall(msgspec.Struct, frozen=True, rename="camel"):
    """A call as this resident may see it: of one that somebody else has answered, not who it was."""

    call_id: str
    direction: Literal["in", "out"]
    peer: str
    started_at: float
    duration: float
    outcome: str
    reason: str


class OwnCalls(msgspec.Struct, frozen=True):
    calls: tuple[OwnCall, ...]


class Residents:
    """The routes. `on_change` is awaited after a session has begun or ended."""

    def __init__(
        self,
        database: Database,
        registry: Calls,
        presence: Presence,
        clock: HubClock,
        site: Site,
        journal: Journal,
        on_change: Callable[[], Awaitable[None]],
        *,
        door: Callable[[IdentityId, IdentityId], Offered | None],
    ) -> None:
        self._database = database
        self._registry = registry
        self._presence = presence
        self._clock = clock
        self._site = site
        self._journal = journal
        self._on_change = on_change
        self._door = door
        self._failures = Buckets(CONNECTS)

    def routes(self) -> tuple[Route, ...]:
        session, limits = "/api/session", (400, 403, 429, 503)
        before = Query("before", "Calls that began before this moment, Unix seconds.", float)
        limit = Query("limit", f"At most {MAX_CALLS}; {CALLS} unless told.", float)
        return (
            Route("GET", session, self._session, "Who is signed in here.", answer=SignedIn),
            Route("POST", session, self._sign_in, "Sign in, by an invitation.", body=SignIn, answer=SignedIn,
                  refusals=limits),
            Route("DELETE", session, self._sign_out, "Sign out.", answer=SignedIn, refusals=(403, 503)),
            Route("GET", "/api/directory", self._directory, "Whom this resident may call, and whose door open.",
                  Who.RESIDENT, answer=Reachables, refusals=(401,)),
            Route("GET", "/api/calls", self._calls, "This resident's calls, the newest first.", Who.RESIDENT,
                  (before, limit), answer=OwnCalls, refusals=(400, 401, 503)),
        )  # fmt: skip

    async def _session(self, request: web.Request) -> web.Response:
        """Who is signed in here: `{resident: {name}}`, or null. Opening the page prolongs the session."""
        who = self._who(request)
        response = web.json_response({"resident": {"name": who.name} if who is not None else None})
        if who is not None:
            await self._prolong(response, self._site.session_of(request))
        return response

    async def _sign_in(self, request: web.Request) -> web.Response:
        """Exchange an invitation's code for a session, once."""
        address, now_s = request.remote or "unknown", time.monotonic()
        if not self._site.is_own_request(request):
            return _refused(403, "not_allowed", "this request does not come from the intercom's own page")
        if self._failures.is_empty(address, now_s):
            return _refused(429, "rate_limited", "too many failed attempts from this address; try again later")
        try:
            code = msgspec.json.decode(await _body(request), type=SignIn).code[: sessions.MAX_CODE_CHARS]
        except (msgspec.DecodeError, ValueError) as error:
            return _refused(400, "bad_request", str(error))
        try:
            signed_in = await sessions.redeem(
                self._database, code, self._clock.now_s(), replaced=self._site.session_of(request)
            )
            if signed_in is None:
                self._failures.take(address, now_s)
                self._journal.report(ErrorCode.CLIENT_REFUSED, REASON="an invitation that is not good", NETWORK=address)
                return _refused(403, "unauthorised", "this invitation was used, or is too old; ask for a new one")
            await self._on_change()
        except DatabaseError:
            return _unable()
        name, token = signed_in
        response = web.json_response({"resident": {"name": name}})
        self._site.sign_in(response, token)
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        """End this browser's session, in all its tabs. Idempotent."""
        if not self._site.is_own_request(request):
            return _refused(403, "not_allowed", "this request does not come from the intercom's own page")
        try:
            await sessions.sign_out(self._database, self._site.session_of(request))
            await self._on_change()
        except DatabaseError:
            return _unable()
        response = web.json_response({"resident": None})
        self._site.sign_out(response)
        return response

    async def _directory(self, request: web.Request) -> web.Response:
        """Whom this resident may call, and whether somebody is there."""
        who = self._who(request)
        if who is None:
            return _stranger()
        entries = [
            {"id": entry.id, "name": entry.name, "role": entry.role.value, "online": self._is_online(who, entry.id)}
            for entry in self._registry.directory.may_call(who.id)
        ]
        return web.json_response({"entries": entries, "doors": self._doors(who)})

    async def _calls(self, request: web.Request) -> web.Response:
        """This resident's calls, the newest first: `?before=UNIX_TIME&limit=N`."""
        who = self._who(request)
        if who is None:
            return _stranger()
        try:
            before = _number(request, "before", math.inf)
            limit = round(_number(request, "limit", CALLS))
        except ValueError as error:
            return _refused(400, "bad_request", str(error))
        try:
            rows = await records.of_resident(self._database, who.id, before, max(1, min(MAX_CALLS, limit)))
        except DatabaseError:
            return _unable()
        return web.json_response({"calls": [seen_by(who.id, row) for row in rows]})

    def _who(self, request: web.Request) -> Identity | None:
        return self._registry.directory.by_session(self._site.session_of(request), self._clock.now_s())

    def _doors(self, who: Identity) -> list[dict[str, str]]:
        stations = (each for each in self._registry.directory.identities.values() if each.role is Role.STATION)
        found = ((station, self._door(who.id, station.id)) for station in stations)
        return [{"id": station.id, "name": station.name, "when": when} for station, when in found if when is not None]

    def _is_online(self, who: Identity, entry: IdentityId) -> bool:
        others = tuple(member for member in self._registry.directory.resolve(entry) if member != who.id)
        here = any(self._presence.online(others).values())
        return here or any(self._registry.reachable(member) for member in others)

    async def _prolong(self, response: web.Response, token: str) -> None:
        """At most once a day; a database that cannot be written leaves the session as it was."""
        now_s = self._clock.now_s()
        if sessions.is_due(self._registry.directory.sessions[digest(token)].expires_at, now_s):
            try:
                await sessions.renew(self._database, token, now_s)
                await self._on_change()
            except DatabaseError:
                return
            self._site.sign_in(response, token)


def seen_by(who: IdentityId, row: sa.Row[Any]) -> dict[str, Any]:
    """A record as this resident may see it."""
    outgoing = row.caller_id == who
    elsewhere = not outgoing and row.callee_id not in (None, who)
    return {
        "callId": row.call_id,
        "direction": "out" if outgoing else "in",
        "peer": row.recipient_id if outgoing else row.caller_id,
        "startedAt": row.created_at,
        "duration": 0.0 if elsewhere else row.duration_s,
        "outcome": "answered_elsewhere" if elsewhere else row.outcome,
        "reason": "answered_elsewhere" if elsewhere else row.reason,
    }


async def _body(request: web.Request) -> bytes:
    """Raises `ValueError`. Another type than JSON could be sent by a form of any page."""
    if request.content_type != "application/json":
        raise ValueError("Content-Type must be application/json")
    body = await request.read()
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"at most {MAX_BODY_BYTES} bytes")
    return body


def _number(request: web.Request, name: str, otherwise: float) -> float:
    text = request.query.get(name)
    if text is None:
        return otherwise
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a number")
    return number


def _refused(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)


def _stranger() -> web.Response:
    return _refused(401, "unauthorised", "not signed in")


def _unable() -> web.Response:
    return _refused(503, "try_again", "the hub cannot reach its database at the moment")
