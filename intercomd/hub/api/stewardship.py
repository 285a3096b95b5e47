"""Everything by which people administer a running hub, put together: administrators, the house, pairing, the authority
to be trusted, the board of who can be reached."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, tzinfo
from typing import Final

from intercomd.config import Hub
from intercomd.errors import ErrorCode
from intercomd.hub.api.accounts import Administration
from intercomd.hub.api.gate import Gate
from intercomd.hub.api.housekeeping import Housekeeping
from intercomd.hub.api.pairing import Pairing
from intercomd.hub.api.reachability import Reachability
from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.presence import Presence
from intercomd.hub.clock import HubClock
from intercomd.hub.people import administrators, estate, links
from intercomd.hub.people.passwords import Passwords
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.web.authority import Authority
from intercomd.hub.web.routes import Route
from intercomd.hub.web.site import Site
from intercomd.hub.web.tls import Tls
from intercomd.ids import IdentityId
from intercomd.ports import Journal

LOOK_AT_LEAST_EVERY_S: Final = 60.0
"""For former tokens that end: a rotation may begin an overlap at any time."""


class Stewardship:
    """`run()` must be running. `port`: the one that the hub listens on; `on_change` is awaited after each change;
    `can_push`: whether somebody's phone can be woken."""

    def __init__(
        self,
        settings: Hub,
        database: Database,
        registry: Calls,
        presence: Presence,
        clock: HubClock,
        site: Site,
        journal: Journal,
        *,
        zone: tzinfo,
        port: Callable[[], int],
        on_change: Callable[[], Awaitable[None]],
        can_push: Callable[[IdentityId], bool],
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._zone = zone
        self._on_change = on_change
        self._passwords = Passwords()
        self.gate = Gate(database, site, clock)
        self.authority = Authority()
        self.tls = Tls(settings, clock.now_s, journal)
        self.reachability = Reachability(
            database, registry, presence, self.gate, clock, can_push=can_push, minute=self._minute
        )  # fmt: skip

        def url() -> str:
            return links.public_url(settings, port())

        def fingerprint() -> str:
            return self.authority.fingerprint

        self._parts = (
            Administration(database, self.gate, site, clock, journal, self._passwords, url),
            Housekeeping(database, registry, presence, self.gate, clock, journal, url, fingerprint, on_change),
            Pairing(database, clock, journal, fingerprint, on_change),
            self.authority,
            self.reachability,
        )

    def routes(self) -> tuple[Route, ...]:
        return tuple(route for part in self._parts for route in part.routes())

    async def open(self) -> None:
        """Before anybody is let in: what has ended while no hub ran. Raises `DatabaseError`."""
        await estate.end_overlaps(self._database, self._clock.now_s())
        if not await administrators.is_set_up(self._database):
            self._journal.report(ErrorCode.HUB_NOT_SET_UP)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reachability.run())
            tasks.create_task(self.tls.run())
            tasks.create_task(self._end_overlaps())

    async def close(self) -> None:
        """Idempotent."""
        await self.reachability.write()
        self._passwords.close()

    async def _end_overlaps(self) -> None:
        """A former token ends on time, and whoever still uses it is let go."""
        wait_s = LOOK_AT_LEAST_EVERY_S
        while True:
            await asyncio.sleep(wait_s)
            wait_s = await self.end_overlaps_once()

    async def end_overlaps_once(self) -> float:
        """Returns for how long nothing more is to be done."""
        now_s = self._clock.now_s()
        try:
            ended, next_s = await estate.end_overlaps(self._database, now_s)
            if ended:
                await self._on_change()
        except DatabaseError:
            return LOOK_AT_LEAST_EVERY_S  # told by whom it keeps from making calls
        return LOOK_AT_LEAST_EVERY_S if next_s is None else min(LOOK_AT_LEAST_EVERY_S, max(0.0, next_s - now_s))

    def _minute(self, now_s: float) -> int:
        at = datetime.fromtimestamp(now_s, self._zone)
        return at.hour * 60 + at.minute
