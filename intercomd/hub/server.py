"""The hub, put together: database, calls, Socket.IO, HTTP, admin socket. `async with HubServer(...) as
hub`."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import tzinfo
from types import TracebackType
from typing import Any

from aiohttp import web

from intercomd.config import Hub
from intercomd.core.legs import Endpoint, HubCall, Limits
from intercomd.core.protocol import HUB_HEARTBEAT_EVENT, Notice
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES, HubPhase, IceServer
from intercomd.errors import ErrorCode
from intercomd.hub.api.pages import Web
from intercomd.hub.api.probes import Operations
from intercomd.hub.api.reports import Reports
from intercomd.hub.api.residents import Residents
from intercomd.hub.api.stewardship import Stewardship
from intercomd.hub.calling import ringing
from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.openings import Doors, Offered
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.calling.registry import Registry
from intercomd.hub.clock import HubClock
from intercomd.hub.history.retention import Retention
from intercomd.hub.metering import survey
from intercomd.hub.metering.metrics import Metrics
from intercomd.hub.metering.pulse import Pulse
from intercomd.hub.office import Office
from intercomd.hub.people import directory, estate
from intercomd.hub.push.courier import Courier
from intercomd.hub.push.wake import Push
from intercomd.hub.shared.registry import SharedRegistry
from intercomd.hub.shared.statements import CHANNEL, DIRECTORY
from intercomd.hub.signalling import Signalling
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.transport import Transport
from intercomd.hub.turn import IceOffer
from intercomd.hub.web import assets, openapi, proxies, routes
from intercomd.hub.web.assets import Page
from intercomd.hub.web.bundle import PageError
from intercomd.hub.web.routes import Route
from intercomd.hub.web.site import Site
from intercomd.hub.web.tls import TlsError
from intercomd.ids import IdentityId
from intercomd.ports import Journal

DRAIN_LIMIT_S = 3.0
SHUTDOWN_LIMIT_S = 2.0
SPREAD_S = 2.0
"""A full house is let go over this time."""
STEP_S = 0.02


class HubError(Exception):
    """The hub cannot start; the text says why and what to do. `is_configuration`: starting again will not
    help."""

    def __init__(self, message: str, *, is_configuration: bool = False) -> None:
        super().__init__(message)
        self.is_configuration = is_configuration


class HubServer:
    """One hub. Entering it raises `HubError`; after that it serves until it is left. `failed` returns only if
    a part of it dies: then the process should end, and be started again."""

    def __init__(
        self,
        settings: Hub,
        journal: Journal,
        *,
        ice_servers: Sequence[IceServer] = (),
        turn_secret: str = "",
        metrics_token: str = "",
        database_password: str = "",
        limits: Limits | None = None,
        clock: HubClock | None = None,
        push_anywhere: bool = False,
    ) -> None:
        """`push_anywhere`: also to push services without TLS and in this network, for tests."""
        self._settings = settings
        self._journal = journal
        self._clock = clock or HubClock()
        self._database = _database(settings, database_password)
        self._presence = Presence()
        self._registry: Calls = (SharedRegistry if self._database.is_shared else Registry)(
            self._database,
            self._presence,
            self._deliver,
            journal,
            clock=self._clock,
            limits=limits or ringing.limits_of(settings),
            zone=(zone := _zone(settings)),
        )
        self._registry.on_directory = self._take_directory
        ice = IceOffer(ice_servers, settings.turn_urls, turn_secret, settings.turn_lifetime_s)
        self._signalling = Signalling(
            self._registry,
            self._presence,
            self._database,
            journal,
            clock=self._clock,
            ice=ice,
            heartbeat_s=settings.heartbeat_s,
        )
        self._signalling.quieten = self._quieten
        self._site = Site.of(settings)
        self._web = Web(self._registry, ice, _page(), is_secure=self._site.secure)
        self._residents = Residents(
            self._database, self._registry, self._presence, self._clock, self._site, journal, self._directory_changed,
            door=self._offered,
        )  # fmt: skip
        self._metrics = Metrics()
        self._pulse = Pulse(self._metrics.ticked)
        self._operations = Operations(
            self._database, self._registry, self._presence, self._metrics, self._pulse, metrics_token=metrics_token,
            describe=lambda: openapi.document(self.routes),
        )  # fmt: skip
        self._push = Push(
            settings.push_subject, self._database, self._registry, self._clock, self._site,
            courier=Courier(anywhere=push_anywhere), on_change=self._directory_changed,
            on_outcome=self._metrics.pushed,
        )  # fmt: skip
        self._registry.reachable = self._push.can_reach
        self._stewardship = Stewardship(
            settings, self._database, self._registry, self._presence, self._clock, self._site, journal,
            zone=zone, port=lambda: self.port, on_change=self._directory_changed,
            can_push=self._push.can_reach,
        )  # fmt: skip
        self._signalling.on_gone = self._stewardship.reachability.went
        self._retention = Retention(self._database, settings.retention_days, self._clock.now_s, journal)
        self._observe()
        self.routes: tuple[Route, ...] = (
            *self._web.routes(),
            *self._operations.routes(),
            *self._residents.routes(),
            *self._push.routes(),
            *self._stewardship.routes(),
            *Reports(self._database, self._stewardship.gate).routes(),
        )
        """Everything that is served over HTTP, but for Socket.IO."""
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.port = settings.port
        """The port it listens on; known after entering where the settings say 0."""

    async def __aenter__(self) -> "HubServer":
        try:
            context = self._stewardship.tls.open(self._stewardship.authority)
        except TlsError as error:
            raise HubError(str(error), is_configuration=True) from error
        try:
            async with AsyncExitStack() as stack:
                await self._open(stack, context)
                self._stack = stack.pop_all()
        except (DatabaseError, OSError) as error:
            raise HubError(str(error)) from error
        scheme = "https" if context else "http"
        self._journal.report(
            ErrorCode.HUB_STARTED, f"The hub accepts connections at {scheme}://{self._settings.listen}:{self.port}."
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._journal.report(ErrorCode.HUB_STOPPED)

    async def failed(self) -> None:
        """Wait for a part that must not end, and raise what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise AssertionError("a task of the hub came to its end")

    @property
    def lag_s(self) -> float:
        """How late the event loop is."""
        return self._pulse.lag_s

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody waits for a ring or an answer just now."""
        return not self._registry.waiting and not self._registry.phases()[HubPhase.RINGING]

    async def wind_down(self, spread_s: float = SPREAD_S) -> None:
        """Told to stop: from now on not ready, and no new calls. Then every client is let go, one after the other, so
        that not all of them come to the next hub at once. Calls go on: their state is on disk, their voice does not go
        through the hub, and whoever comes back finds them."""
        self._operations.is_stopping = self._signalling.is_stopping = True
        sockets = list(self._presence)
        steps = max(1, min(len(sockets), round(spread_s / STEP_S)))
        for step in range(steps):
            for socket in sockets[step::steps]:
                self._signalling.wire.drop(socket.sid)
            await asyncio.sleep(STEP_S)

    def _observe(self) -> None:
        """What happens is counted."""
        metrics = self._metrics

        def changed(before: HubCall | None, after: HubCall) -> None:
            metrics.changed(before, after, self._clock.now_s())
            self._push.changed(before, after)

        self._registry.on_change = changed
        self._registry.on_measured = metrics.measured
        self._database.watch = metrics.committed
        self._signalling.on_refusal = metrics.refused
        self._signalling.on_answer = metrics.answered
        survey.watch(metrics, self._registry, self._presence, lambda: self._operations.is_ready)

    # Opened in this order, closed in the reverse one: first nobody is heard any more, then everything
    # that was decided is written, then the database is closed.
    async def _open(self, stack: AsyncExitStack, context: ssl.SSLContext | None) -> None:
        stack.enter_context(self._database.claimed())
        await self._database.open()
        stack.push_async_callback(self._database.close)
        await self._stewardship.open()
        stack.push_async_callback(self._stewardship.close)
        await self._read_directory()
        await self._push.open()
        await self._registry.load()
        stack.push_async_callback(self._end_tasks)
        self._tasks = [
            asyncio.create_task(self._registry.run(), name="hub writer"),
            asyncio.create_task(self._signalling.beat(), name="hub heartbeat"),
            asyncio.create_task(self._pulse.run(), name="hub pulse"),
            asyncio.create_task(self._stewardship.run(), name="hub stewardship"),
            asyncio.create_task(self._retention.run(), name="hub retention"),
        ]
        stack.push_async_callback(self._registry.drain, DRAIN_LIMIT_S)
        stack.push_async_callback(self._push.close)
        if not self._database.is_shared:
            office = Office(self._database, self._presence, self._clock.now_s, self._directory_changed)
            await office.open()
            stack.push_async_callback(office.close)
        await self._listen(stack, context)

    async def _listen(self, stack: AsyncExitStack, context: ssl.SSLContext | None) -> None:
        app = web.Application(client_max_size=MAX_MESSAGE_BYTES)
        app.middlewares.append(self._web.middleware)
        if self._settings.proxies:
            app.middlewares.append(proxies.telling_apart(self._settings.proxies))
        routes.attach(app, self.routes)
        transport: Transport[Socket] = Transport(self._signalling, self._site, polling=self._settings.polling)
        self._signalling.wire = transport
        self._signalling.doors = self._doors(transport)
        transport.attach(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_LIMIT_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.push_async_callback(transport.close)
        site = web.TCPSite(runner, self._settings.listen, self._settings.port, ssl_context=context)
        await site.start()
        self.port = runner.addresses[0][1]

    def _offered(self, who: IdentityId, station: IdentityId) -> Offered | None:
        return self._signalling.doors.offered(who, station)

    def _doors(self, transport: Transport[Socket]) -> Doors:
        async def ask(socket: Socket, event: str, payload: dict[str, Any], limit_s: float) -> object:
            if socket.process is not None:
                return await self._registry.ask_elsewhere(socket.process, socket.endpoint, event, payload, limit_s)
            return await transport.ask(socket.sid, event, payload, limit_s)

        async def asked(device: Endpoint, event: str, payload: dict[str, Any], limit_s: float) -> object:
            """By another process. The hub's time just before, as for one's own."""
            socket = max(self._presence.at(device), key=lambda socket: socket.connected_at, default=None)
            if socket is None:
                raise TimeoutError("it has gone meanwhile")
            await transport.tell(socket.sid, HUB_HEARTBEAT_EVENT, {"t": self._clock.now_s()})
            return await transport.ask(socket.sid, event, payload, limit_s)

        self._registry.on_asked = asked
        return Doors(
            self._database,
            self._presence,
            self._journal,
            self._clock,
            directory=lambda: self._registry.directory,
            call=self._registry.find,
            tell=transport.tell,
            ask=ask,
        )

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=SHUTDOWN_LIMIT_S)

    async def _deliver(self, to: Endpoint, notice: Notice) -> None:
        """The registry tells through the signalling, which is built on the registry."""
        await self._signalling.deliver(to, notice)

    async def _read_directory(self) -> None:
        self._registry.directory = await directory.read(self._database)
        self._operations.has_directory = True

    async def _directory_changed(self) -> None:
        """Revocation acts at once, in every process."""
        await self._take_directory()
        await self._database.announce(CHANNEL, DIRECTORY)

    async def _take_directory(self) -> None:
        await self._read_directory()
        self._signalling.revoke()
        self._registry.review()

    async def _quieten(self, who: IdentityId, until: float | None) -> None:
        policy = replace(self._registry.directory.policy(who), do_not_disturb_until=until)
        await estate.set_policy(self._database, who, policy)
        await self._directory_changed()


def _database(settings: Hub, password: str) -> Database:
    try:
        return Database(settings.database_url, password)
    except DatabaseError as error:
        raise HubError(str(error), is_configuration=True) from error


def _zone(settings: Hub) -> tzinfo:
    try:
        return ringing.zone_of(settings.time_zone)
    except ValueError as error:
        raise HubError(str(error), is_configuration=True) from error


def _page() -> Page:
    try:
        return assets.load()
    except PageError as error:
        raise HubError(str(error)) from error
