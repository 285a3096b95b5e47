"""How calls ring at an estate, over real sockets: groups in sequence, queues, quiet, the talk limit, rights."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from intercomd.config import Hub
from intercomd.core.legs import Limits
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.history import archive
from intercomd.hub.history.archive import Filter, RecordReport
from intercomd.hub.people import estate
from intercomd.hub.people.directory import Busy, Policy, RingMode
from intercomd.hub.people.rights import Action, Right
from intercomd.hub.server import HubServer
from intercomd.hub.storage.database import Database
from intercomd.ids import IdentityId
from tests.e2e.hub_clients import Client, enrol, household, settings, talk

STATIONS = ("door", "gate", "flat", "desk", "attic")
Setup = Callable[[Database], Awaitable[None]]


class House:
    def __init__(self, config: Hub, tokens: dict[str, str]) -> None:
        self.config = config
        self.tokens = tokens

    async def prepare(self, *steps: Setup) -> None:
        """Before the hub starts, as an administrator would."""
        database = Database(self.config.database_url)
        await database.open()
        try:
            for step in steps:
                await step(database)
        finally:
            await database.close()

    def hub(self, limits: Limits | None = None) -> HubServer:
        return HubServer(self.config, FakeJournal(), limits=limits or Limits())

    async def records(self) -> tuple[RecordReport, ...]:
        """Once no hub runs any more, the newest first."""
        database = Database(self.config.database_url)
        await database.open()
        try:
            return (await archive.find(database, Filter(), 100)).records
        finally:
            await database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.platform("postgres"))])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    """One process owns its calls, or several may share them."""
    kept = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgres" else {}
    # What follows from an event is not left to the next heartbeat.
    config = settings(tmp_path, heartbeat_s=60.0, **kept)
    return House(config, await enrol(config, *STATIONS))


def sequence(*members: str, each_s: float = 0.3, escalate_to: str | None = None) -> Setup:
    def write(database: Database) -> Awaitable[None]:
        return estate.set_group(
            database, "home", members, 0.0, mode=RingMode.SEQUENCE, each_s=each_s, escalate_to=escalate_to
        )

    return write


def waits(name: str) -> Setup:
    return lambda database: estate.set_policy(database, name, Policy(busy=Busy.QUEUE))


async def dial(caller: Client, call_id: str, recipient: str) -> dict[str, Any]:
    reply = await caller.call("initiate_call", {"callId": call_id, "recipientId": recipient})
    assert reply["ok"], reply
    call: dict[str, Any] = reply["call"]
    return call


async def test_a_sequence_rings_to_its_end_and_escalates(house: House) -> None:
    await house.prepare(sequence("flat", "desk", escalate_to="attic"))
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, flat, attic = await people.join("door"), await people.join("flat"), await people.join("attic")
        assert (await dial(door, "c", "home"))["phase"] == "ringing"
        # The desk is not connected: passed over. Nobody answers at the flat.
        assert (await flat.hears("call_cancelled"))["reason"] == "timeout"
        await attic.hears("incoming_call")
        assert (await attic.call("accept_call", {"callId": "c"}))["call"]["phase"] == "connecting"
        assert (await door.hears("call_accepted"))["accepterId"] == "attic"
        assert len(door.all("call_initiated")) == 1
        await door.call("end_call", {"callId": "c"})
    [record] = await house.records()
    assert [(who.identity, who.left_reason) for who in record.rung] == [("flat", "timeout"), ("attic", None)]


async def test_a_sequence_goes_on_after_a_restart_of_the_hub(house: House) -> None:
    await house.prepare(sequence("flat", "desk", each_s=30.0))
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await dial(door, "c", "home")
        await flat.hears("incoming_call")
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, desk, flat = [await people.join(name) for name in ("door", "desk", "flat")]
        await flat.hears("incoming_call")
        assert desk.all("incoming_call") == []
        await flat.call("reject_call", {"callId": "c"})
        await desk.hears("incoming_call")
        assert (await desk.call("accept_call", {"callId": "c"}))["call"]["phase"] == "connecting"
        await door.hears("call_accepted")


async def test_callers_wait_in_their_order_and_are_rung_through(house: House) -> None:
    await house.prepare(waits("flat"))
    async with house.hub(Limits(queue_length=2)) as hub, household(hub.port, house.tokens) as people:
        door, flat, gate, desk = [await people.join(name) for name in ("door", "flat", "gate", "desk")]
        attic = await people.join("attic")
        await talk(door, flat, "talk", "flat")
        assert (await dial(gate, "first", "flat"))["queuePosition"] == 1
        assert (await dial(desk, "second", "flat"))["queuePosition"] == 2
        assert (await dial(attic, "third", "flat"))["endReason"] == "busy", "the queue has a limit"
        assert (await desk.hears("call_queued"))["position"] == 2
        await door.call("end_call", {"callId": "talk"})
        assert (await flat.hears("incoming_call", 2))["callId"] == "first"
        await gate.hears("call_initiated")
        assert (await desk.hears("call_queued", 2))["position"] == 1
        await gate.call("cancel_call", {"callId": "first"})
        assert (await flat.hears("incoming_call", 3))["callId"] == "second"
        assert (await flat.call("accept_call", {"callId": "second"}))["ok"]
        await desk.hears("call_accepted")


async def test_who_waits_is_in_a_call_and_may_leave_it(house: House) -> None:
    await house.prepare(waits("flat"))
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, flat, gate, desk = [await people.join(name) for name in ("door", "flat", "gate", "desk")]
        await talk(door, flat, "talk", "flat")
        await dial(gate, "w", "flat")
        assert (await dial(desk, "x", "gate"))["endReason"] == "busy"
        twice = await gate.call("initiate_call", {"callId": "y", "recipientId": "desk"})
        assert (twice["ok"], twice["code"]) == (False, "busy")
        assert (await gate.call("cancel_call", {"callId": "w"}))["call"]["endReason"] == "cancelled"
        assert (await dial(desk, "z", "gate"))["phase"] == "ringing"


async def test_the_queue_outlives_the_hub(house: House) -> None:
    await house.prepare(waits("flat"))
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, flat, gate = [await people.join(name) for name in ("door", "flat", "gate")]
        await talk(door, flat, "talk", "flat")
        await dial(gate, "w", "flat")
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await door.call("end_call", {"callId": "talk"})
        gate = await people.join("gate", resync=False)
        reply = await gate.call("resync", {"calls": [{"callId": "w", "epoch": 0, "phase": "ringing"}]})
        assert [call["phase"] for call in reply["calls"]] == ["ringing"]
        assert (await flat.hears("incoming_call"))["callId"] == "w"


async def test_who_does_not_want_to_be_disturbed_is_not_rung(house: House) -> None:
    await house.prepare(sequence("flat", "desk", each_s=20.0), waits("flat"))
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, flat, desk, gate = [await people.join(name) for name in ("door", "flat", "desk", "gate")]
        await talk(gate, flat, "talk", "flat")
        assert (await dial(door, "w", "flat"))["queuePosition"] == 1
        assert (await flat.call("set_do_not_disturb", {"until": 9e9}))["ok"]
        assert (await door.hears("call_failed"))["reason"] == "do_not_disturb", "nobody waits for them any more"
        await gate.call("end_call", {"callId": "talk"})
        assert (await dial(door, "c", "flat"))["endReason"] == "do_not_disturb"
        assert (await dial(door, "d", "home"))["phase"] == "ringing"
        await desk.hears("incoming_call")
        await door.call("cancel_call", {"callId": "d"})
        assert len(flat.all("incoming_call")) == 1
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        door, flat = await people.join("door"), await people.join("flat", resync=False)
        reply = await flat.call("resync", {})
        assert reply["doNotDisturbUntil"] == 9e9, "the wish outlives the hub"
        assert (await dial(door, "e", "flat"))["endReason"] == "do_not_disturb"
        await flat.call("set_do_not_disturb", {})
        assert (await dial(door, "f", "flat"))["phase"] == "ringing"
        await door.call("cancel_call", {"callId": "f"})
    records = {record.call_id: (record.outcome, record.reason) for record in await house.records()}
    assert records["c"] == ("missed", "do_not_disturb")


async def test_a_talk_has_a_limit_of_which_both_are_warned(house: House) -> None:
    limits = Limits(talk_s=2.5, warning_s=2.0)
    async with house.hub(limits) as hub, household(hub.port, house.tokens) as people:
        door, flat, gate = [await people.join(name) for name in ("door", "flat", "gate")]
        await talk(door, flat, "c", "flat")
        for client in (door, flat):
            assert 0.0 < (await client.hears("talk_limit"))["leftS"] < 2.01
        stranger = await gate.call("prolong_call", {"callId": "c"})
        assert (stranger["ok"], stranger["code"]) == (False, "not_participant")
        replies = await asyncio.gather(*(one.call("prolong_call", {"callId": "c"}) for one in (door, flat)))
        assert all(reply["ok"] for reply in replies)
        for client in (door, flat):
            told = await client.hears("talk_limit", 2)
            assert told["prolonged"]
        await door.hears("talk_limit", 3)
        assert (await flat.hears("call_ended"))["reason"] == "talk_limit"
    [record] = await house.records()
    assert (record.outcome, record.reason) == ("completed", "talk_limit")
    assert record.duration >= 2.9


async def test_rights_say_who_may_call_whom(house: House) -> None:
    door, flat, desk = IdentityId("door"), IdentityId("flat"), IdentityId("desk")
    await house.prepare(lambda database: estate.set_right(database, Right(door, Action.CALL, flat, allowed=False)))
    async with house.hub() as hub, household(hub.port, house.tokens) as people:
        caller, other = await people.join("door"), await people.join("flat")
        await people.join("desk")
        assert (await dial(caller, "c", flat))["endReason"] == "not_allowed"
        assert other.all("incoming_call") == []
        assert (await dial(caller, "d", desk))["phase"] == "ringing"
