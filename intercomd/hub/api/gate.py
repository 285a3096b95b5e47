"""Who may administer: a session's cookie, requests of our own page only, and none too often."""

import time
from typing import Final

from aiohttp import web

from intercomd.hub.clock import HubClock
from intercomd.hub.limits import CONNECTS, EVENTS, Buckets
from intercomd.hub.people import administrators
from intercomd.hub.storage.database import Database
from intercomd.hub.web.answers import Refusal
from intercomd.hub.web.site import Site

_READING: Final = ("GET", "HEAD")


class Gate:
    """Asked by every route of the administrators'."""

    def __init__(self, database: Database, site: Site, clock: HubClock) -> None:
        self._database = database
        self._site = site
        self._clock = clock
        self._requests = Buckets(EVENTS)
        self._strangers = Buckets(CONNECTS)

    async def who(self, request: web.Request) -> str | None:
        """Whose session the request shows, if any. Raises `DatabaseError`."""
        token = self._site.administrator_of(request)
        return await administrators.who(self._database, token, self._clock.now_s()) if token else None

    async def admit(self, request: web.Request) -> str:
        """The administrator. Raises `Refusal` and `DatabaseError`."""
        if request.method not in _READING:
            self.check_origin(request)
        name = await self.who(request)
        if name is None:
            self.count_stranger(request)
            raise Refusal(401, "unauthorised", "not signed in as an administrator")
        if not self._requests.take(name, time.monotonic()):
            raise Refusal(429, "rate_limited", "too many requests; wait a moment")
        return name

    def count_stranger(self, request: web.Request) -> None:
        """One more request without a session. Raises `Refusal`."""
        if not self._strangers.take(request.remote or "unknown", time.monotonic()):
            raise Refusal(429, "rate_limited", "too many requests without a session; wait a moment")

    def check_origin(self, request: web.Request) -> None:
        """What changes something comes from our own page. Raises `Refusal`."""
        if not self._site.is_own_request(request):
            raise Refusal(403, "not_allowed", "this request does not come from the intercom's own page")
