"""Hubs in memory and over sockets, and a station's link to one of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import pytest

from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.core.link import Limits
from intercomd.core.protocol import CallEnded, Notice
from intercomd.core.vocabulary import EndReason
from intercomd.fakes.signalling import FakeHubLink, FakeSignalling, SilentJournal
from intercomd.ids import InstanceId
from intercomd.link.supervised import SupervisedSignalling
from tests.contract.loopback_hub import LoopbackHub

Json = Any
QUICK = Limits(
    attempt_s=5.0,
    first_retry_s=0.02,
    longest_retry_s=0.05,
    refused_retry_s=0.05,
    heartbeat_s=0.2,
    ack_s=0.5,
    silence_s=1.0,
)
"""For a machine with two busy cores: an acknowledgement may take half a second."""


async def until(true: Callable[[], bool], limit_s: float = 10.0) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "not within the limit"
        await asyncio.sleep(0.005)


class Hub(Protocol):
    """A hub of either kind, under one set of verbs."""

    signalling: SupervisedSignalling
    journal: SilentJournal

    @property
    def knobs(self) -> FakeHubLink | LoopbackHub: ...
    async def notify(self, notice: Notice) -> None: ...
    async def send(self, event: str, *arguments: Json) -> None: ...
    async def call(self, event: str, *arguments: Json) -> Json: ...
    async def drop(self) -> None: ...
    async def leave(self) -> None: ...
    async def come_back(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.knobs = FakeHubLink()
        self.journal = SilentJournal()
        self.signalling: SupervisedSignalling = FakeSignalling(self.knobs, self.journal, QUICK)

    async def notify(self, notice: Notice) -> None:
        self.knobs.notify(notice)

    async def send(self, event: str, *arguments: Json) -> None:
        self.knobs.send(event, *arguments)

    async def call(self, event: str, *arguments: Json) -> Json:
        return self.knobs.send(event, *arguments)[0]

    async def drop(self) -> None:
        self.knobs.drop()

    async def leave(self) -> None:
        self.knobs.away = True
        self.knobs.drop()

    async def come_back(self) -> None:
        self.knobs.away = False


class OverSockets:
    def __init__(self, hub: LoopbackHub, limits: Limits = QUICK) -> None:
        self.knobs = hub
        self.journal = SilentJournal()
        self.tokens = 0
        self.signalling: SupervisedSignalling = SocketIoSignalling(
            f"http://127.0.0.1:{hub.port}",
            self._token,
            InstanceId("instance-1"),
            ("door",),
            self.journal,
            limits=limits,
        )
        self.notify = hub.notify
        self.send = hub.send
        self.call = hub.call
        self.drop = hub.drop
        self.leave = hub.stop

    async def come_back(self) -> None:
        await self.knobs.start()

    def _token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"


@pytest.fixture(params=["fake", "socketio"])
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    if request.param == "fake":
        yield InMemory()
        return
    server = await LoopbackHub().start()
    yield OverSockets(server)
    await server.stop()


class Station:
    """What the owner of the link hears."""

    def __init__(self) -> None:
        self.links: list[bool] = []
        self.notices: list[Notice] = []


@asynccontextmanager
async def running(signalling: SupervisedSignalling, *, wait: bool = True) -> AsyncIterator[Station]:
    station = Station()
    task = asyncio.create_task(signalling.run(station.links.append, station.notices.append))
    try:
        if wait:
            await until(lambda: station.links == [True])
        yield station
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def ended(seq: int) -> CallEnded:
    return CallEnded("c", seq, reason=EndReason.COMPLETED)
