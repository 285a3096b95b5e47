"""A whole call while the disk takes nothing, on a real file system that is full or read-only: it is made, talked and
ended as ever, and its record reaches flash when the disk is back."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from intercomd.adapters import sqlite
from intercomd.adapters.sqlite import SqliteStore
from intercomd.core.events import CallPressed, Card, HangupPressed, LinkUp, MediaUp, Received, Replied
from intercomd.core.protocol import CallAccepted, EndCall, InitiateCall, Reply, Resync
from intercomd.core.station import Phase, Settings, Station
from intercomd.device.interpreter import Interpreter, Outside
from intercomd.device.servers import IceServers
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.fakes.probe import FakeProbe
from intercomd.ids import CallId, IdentityId
from intercomd.ports import StoreError
from tests.contract.store_rig import fill, remount, small_disk, until
from tests.unit.test_interpreter import Diary, feed

__all__ = ("small_disk",)

C1 = CallId("c1")


def fill_up(disk: Path) -> Callable[[], None]:
    filler = fill(disk)
    return filler.unlink


def make_read_only(disk: Path) -> Callable[[], None]:
    remount(disk, "ro")
    return lambda: remount(disk, "rw")


def interpreter_on(store: SqliteStore, diary: Diary, journal: FakeJournal) -> Interpreter:
    ice = IceServers((), FakeProbe(), lambda: diary.request(Resync(), 5.0), lambda: True, journal)
    parts: Any = (
        diary,
        diary,
        store,
        diary,
        journal,
        lambda: 1000.0,
        lambda: "lo ipv4",
        lambda: None,
        ice,
        diary.metrics,
    )
    station = Station(Settings(peer_id=IdentityId("flat")), card=Card.READY)
    return Interpreter(station, Outside(*parts), lambda _: None)


@pytest.mark.platform("root")
@pytest.mark.parametrize("harm", [fill_up, make_read_only])
async def test_a_call_is_made_and_ended_on_a_disk_that_takes_nothing(
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], Callable[[], None]],
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_S", 0.05)
    diary, journal = Diary(), FakeJournal()
    before = SqliteStore(small_disk / "state")
    await before.load()
    await before.close()
    heal = harm(small_disk)
    store = SqliteStore(small_disk / "state")
    with suppress(StoreError):
        await store.load()
    interpreter = interpreter_on(store, diary, journal)
    for _ in range(40):  # until the space that the file still had is used up
        await feed(interpreter, LinkUp(), Replied(Resync(), Reply(ok=True, calls=())))
        await feed(interpreter, CallPressed(C1), Received(CallAccepted(C1, 1, accepter_id="flat", epoch=1)), MediaUp(1))
        assert interpreter.station.call is not None
        assert interpreter.station.call.phase is Phase.CONNECTED
        await feed(interpreter, HangupPressed(), Replied(EndCall(C1), Reply(ok=True)))
        assert interpreter.station.call is None
        if interpreter.store_failing:
            break
    sent = [line[1] for line in diary.lines if line[0] == "sent"]
    assert {InitiateCall(C1, IdentityId("flat")), EndCall(C1, "completed")} <= set(sent)
    assert interpreter.store_failing
    assert ErrorCode.STORE_FAILING in journal.codes
    (record,) = await store.waiting_records(10)
    assert record.call_id == C1
    heal()
    await until(lambda: store.is_written)
    interpreter.look_at_store()
    assert not interpreter.store_failing
    assert journal.codes[-1] is ErrorCode.STORE_RECOVERED
    await store.close()
    again = SqliteStore(small_disk / "state")
    assert (await again.load()).snapshot.call is None
    assert [kept.call_id for kept in await again.waiting_records(10)] == [C1]
    await again.close()
    await asyncio.sleep(0)
