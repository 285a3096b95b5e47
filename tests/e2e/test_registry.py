"""The hub's writer: nothing is told before it is written, and what cannot be written has not happened."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from intercomd.core.legs import Endpoint, Limits, Party
from intercomd.core.protocol import (
    AcceptCall,
    CallMetrics,
    Code,
    EndCall,
    InitiateCall,
    KnownCall,
    Notice,
    RejoinCall,
    WebrtcAnswer,
    WebrtcOffer,
)
from intercomd.core.vocabulary import HubPhase, Metrics, Sdp  # fmt: skip
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.calling import registry
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.calling.registry import Registry
from intercomd.hub.clock import HubClock
from intercomd.hub.history import records
from intercomd.hub.people.directory import Directory, Identity, Role
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.ids import CallId
from tests.unit.hub_calls import DESK, DOOR, FLAT, FLAT_2

LIMIT_S = 5.0
_T = TypeVar("_T")


class Desk:
    """A registry on a real database, with a disk that can be made to fail."""

    def __init__(self, folder: Path, limits: Limits | None = None, clock: HubClock | None = None) -> None:
        self.clock = clock or HubClock()
        self.told: list[tuple[Endpoint, Notice]] = []
        self.committed: list[bool] = []
        self.journal = FakeJournal()
        self.database = Database(f"sqlite+aiosqlite:///{folder / 'hub.db'}")
        self.presence = Presence()
        self.registry = Registry(
            self.database, self.presence, self._deliver, self.journal, clock=self.clock, limits=limits or Limits()
        )
        everybody = {party.identity: Identity(party.identity, Role.STATION) for party in (DOOR, FLAT, DESK)}
        self.registry.directory = Directory(everybody)
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.database.open()
        await self.registry.load()
        self._writer = asyncio.create_task(self.registry.run())

    async def close(self) -> None:
        await self.registry.drain(LIMIT_S)
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        await self.database.close()

    async def join(self, *parties: Party) -> None:
        for party in parties:
            self.presence.add(Socket(party.instance, party, False, b"", 0.0, 0.0, resynced=True))
            await self.registry.returned(party)

    def leave(self, party: Party) -> None:
        self.presence.remove(party.instance)
        self.registry.vanished(party.endpoint)

    async def fail_writes(self, failing: bool) -> None:
        """What SQLite says on a read-only or full disk, by its own switch."""
        connection = self.database._backend._connection
        assert connection is not None
        await connection.exec_driver_sql(f"PRAGMA query_only = {int(failing)}")
        await connection.rollback()

    async def phase_on_disk(self, call_id: str) -> HubPhase | None:
        call = (await records.load(self.database, [CallId(call_id)])).get(CallId(call_id))
        return call.phase if call else None

    async def _deliver(self, to: Endpoint, notice: Notice) -> None:
        on_disk = await self.phase_on_disk(notice.call_id)
        self.committed.append(on_disk is not None)
        self.told.append((to, notice))


async def soon(work: Awaitable[_T]) -> _T:
    return await asyncio.wait_for(work, LIMIT_S)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.open()
    await desk.join(DOOR, FLAT)
    yield desk
    await desk.close()


async def talking(desk: Desk) -> None:
    await soon(desk.registry.initiate(DOOR, InitiateCall("c", "flat")))
    await soon(desk.registry.request(FLAT.endpoint, AcceptCall("c")))
    await soon(desk.registry.request(FLAT.endpoint, WebrtcAnswer("c", Sdp("answer", "sdp"), 1)))


async def test_nothing_is_told_before_it_is_on_disk(desk: Desk) -> None:
    await talking(desk)
    assert len(desk.told) == 4
    assert all(desk.committed)
    assert await desk.phase_on_disk("c") is HubPhase.CONNECTED


async def test_what_cannot_be_written_has_not_happened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RETRY_S", 0.01)
    await talking(desk)
    told = len(desk.told)
    await desk.fail_writes(True)
    replies = await soon(
        asyncio.gather(
            desk.registry.request(DOOR.endpoint, EndCall("c")),
            desk.registry.request(FLAT.endpoint, EndCall("c")),
            desk.registry.initiate(DESK, InitiateCall("d", "attic")),
        )
    )
    assert [reply.code for reply in replies] == [Code.TRY_AGAIN] * 3
    assert (len(desk.told), desk.registry.is_writing) == (told, False)
    assert desk.registry.open_calls == 1
    await desk.fail_writes(False)
    async with asyncio.timeout(LIMIT_S):
        while not desk.registry.is_writing:
            await asyncio.sleep(0.01)
    reply = await soon(desk.registry.request(DOOR.endpoint, RejoinCall("c")))
    assert reply.call is not None
    assert reply.call.phase is HubPhase.CONNECTED
    reply = await soon(desk.registry.request(DOOR.endpoint, EndCall("c")))
    assert reply.call is not None
    assert reply.call.phase is HubPhase.ENDED
    assert desk.journal.codes.count(ErrorCode.STORE_FAILING) == 1
    assert desk.journal.codes.count(ErrorCode.STORE_RECOVERED) == 1


async def test_who_left_while_nothing_could_be_written_is_still_seen_to_have_left(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RETRY_S", 0.01)
    await talking(desk)
    await desk.fail_writes(True)
    desk.leave(FLAT)
    async with asyncio.timeout(LIMIT_S):
        while desk.registry.is_writing:
            await asyncio.sleep(0.01)
    await desk.fail_writes(False)
    async with asyncio.timeout(LIMIT_S):
        while await desk.phase_on_disk("c") is not HubPhase.INTERRUPTED:
            await asyncio.sleep(0.01)


async def test_a_lease_that_runs_out_on_a_failing_disk_runs_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RETRY_S", 0.01)
    desk = Desk(tmp_path, Limits(ring_s=0.2))
    await desk.open()
    await desk.join(DOOR, FLAT)
    await soon(desk.registry.initiate(DOOR, InitiateCall("c", "flat")))
    await desk.fail_writes(True)
    async with asyncio.timeout(LIMIT_S):
        while desk.registry.is_writing:
            await asyncio.sleep(0.01)
    assert await desk.phase_on_disk("c") is HubPhase.RINGING
    await desk.fail_writes(False)
    async with asyncio.timeout(LIMIT_S):
        while await desk.phase_on_disk("c") is not HubPhase.ENDED:
            await asyncio.sleep(0.01)
    await desk.close()


async def test_many_at_once_are_committed_together_and_told_in_order(desk: Desk) -> None:
    parties = [Party(DESK.identity, DESK.instance), FLAT_2]
    await desk.join(*parties)
    replies = await soon(
        asyncio.gather(
            desk.registry.initiate(DOOR, InitiateCall("c", "flat")),
            desk.registry.initiate(DOOR, InitiateCall("c", "flat")),
            desk.registry.initiate(DESK, InitiateCall("d", "flat")),
        )
    )
    assert [reply.ok for reply in replies] == [True, True, True]
    busy = replies[2].call
    assert busy is not None
    assert busy.phase is HubPhase.ENDED
    await soon(
        asyncio.gather(
            desk.registry.request(FLAT.endpoint, AcceptCall("c")),
            desk.registry.request(FLAT_2.endpoint, AcceptCall("c")),
            *(desk.registry.request(DOOR.endpoint, WebrtcOffer("c", Sdp("offer", "sdp"))) for _ in range(20)),
        )
    )
    seqs = [notice.seq for _, notice in desk.told if notice.call_id == "c"]
    assert seqs == sorted(seqs)
    assert len(seqs) == len(set(seqs))


async def test_an_old_ended_call_is_read_again_from_disk(desk: Desk) -> None:
    await talking(desk)
    await soon(desk.registry.request(DOOR.endpoint, EndCall("c")))
    fresh = Registry(desk.database, desk.presence, desk._deliver, desk.journal, clock=HubClock(), limits=Limits())
    writer = asyncio.create_task(fresh.run())
    (state,) = await soon(fresh.resync(DOOR, [KnownCall("c", 1, "connected"), KnownCall("never", 1, "connected")]))
    assert state.phase is HubPhase.ENDED
    late = await soon(fresh.request(FLAT.endpoint, CallMetrics("c", Metrics(jitter=0.5))))
    assert late.ok
    taken = await soon(fresh.initiate(DESK, InitiateCall("c", "flat")))
    assert taken.code is Code.CALL_ID_TAKEN
    writer.cancel()


async def test_nobody_learns_of_a_call_by_naming_it(desk: Desk) -> None:
    await talking(desk)
    assert await soon(desk.registry.resync(DESK, [KnownCall("c", 1, "connected")])) == ()


async def test_a_closed_database_is_an_error_and_not_a_hang(desk: Desk) -> None:
    await desk.database.close()
    with pytest.raises(DatabaseError, match="closed"):
        await soon(desk.registry.initiate(DOOR, InitiateCall("c", "flat")))
