"""A door over the real hub: who may have it opened, what the station does about it, and what is written down. The
station's link, its rule and its (simulated) lines are the shipped ones."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from intercomd.adapters.gpio import GpioPins
from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.config import Hub
from intercomd.core.door import Remote
from intercomd.core.protocol import DOOR, DoorCommand, Resync
from intercomd.device.door import Door
from intercomd.fakes.journal import FakeJournal
from intercomd.fakes.signalling import SilentJournal
from intercomd.hub.people.rights import Action
from intercomd.hub.server import HubServer
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import door_openings, rights
from intercomd.ids import InstanceId
from tests.e2e.hub_clients import LIMIT_S, Client, Household, enrol, household, settings, talk, until

OPEN_S = 2.0
"""Longer than a busy machine needs to look."""
FLATS = "flat"
"""May open the door always."""
ATTICS = "attic"
"""May while they talk with it."""
STRANGER = "desk"


class Entrance:
    """The door station, but for its sound: link, door, lines."""

    def __init__(
        self, hub: HubServer, token: str, remote: Remote = "always", *, wired: bool = True, talk: str | None = None
    ) -> None:
        self.links: list[bool] = []
        self.lateness_s = 0.0
        self.switched = 0
        self.pins = GpioPins({}, {}, "mock", outputs={"door": 12} if wired else {})
        self.journal = FakeJournal()
        self.door = Door(
            self._switch,
            self.journal.report,
            lambda: talk,
            remote=remote,
            has_opener=True,
            open_s=OPEN_S,
            monotonic=lambda: time.monotonic() + self.lateness_s,
        )
        capabilities = () if remote == "never" else (DOOR,)
        self.signalling = SocketIoSignalling(
            f"http://127.0.0.1:{hub.port}", lambda: token, InstanceId("door-1"), capabilities, SilentJournal()
        )

    @property
    def is_open(self) -> bool:
        return self.pins.levels().get("door", False)

    def _switch(self) -> None:
        self.pins.switch_on("door", OPEN_S)
        self.switched += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Entrance"]:
        self.pins.start(lambda *_: None)
        run = self.signalling.run(self.links.append, lambda _: None, self.door.hub_time, self.door.command)
        task = asyncio.create_task(run)
        try:
            await until(lambda: self.links == [True])
            await self.signalling.request(Resync())
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.pins.close()


class Mute(Client):
    """A station that hears a door command and does not acknowledge it before `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def _on_any(self, event: str, payload: dict[str, Any]) -> dict[str, bool]:
        await super()._on_any(event, payload)
        if event == DoorCommand.event:
            await self.released.wait()
        return {"ok": True}


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
async def config(tmp_path: Path) -> Hub:
    return settings(tmp_path)


@pytest.fixture
async def tokens(config: Hub) -> dict[str, str]:
    names = await enrol(config, "door", FLATS, ATTICS, STRANGER)
    allowed = [
        {"subject": who, "action": action.value, "object": "door", "allowed": True}
        for who, action in ((FLATS, Action.DOOR), (ATTICS, Action.DOOR_IN_CALL))
    ]
    database = Database(config.database_url)
    await database.open()
    async with database.transaction() as connection:
        await connection.execute(sa.insert(rights), allowed)
    await database.close()
    return names


@pytest.fixture
async def hub(config: Hub, tokens: dict[str, str], journal: FakeJournal) -> AsyncIterator[HubServer]:
    async with HubServer(config, journal) as server:
        yield server


@pytest.fixture
async def people(hub: HubServer, tokens: dict[str, str]) -> AsyncIterator[Household]:
    async with household(hub.port, tokens) as all_of_them:
        yield all_of_them


@pytest.fixture
async def entrance(hub: HubServer, tokens: dict[str, str]) -> AsyncIterator[Entrance]:
    async with Entrance(hub, tokens["door"]).running() as entrance:
        yield entrance


async def attempts(hub: HubServer) -> list[tuple[str, str, str | None, str]]:
    """Who, where, in which call, and what came of it; the oldest first."""
    columns = sa.select(door_openings).order_by(door_openings.c.at)
    async with hub._database.transaction() as connection:
        rows = (await connection.execute(columns)).all()
    return [(row.who, row.station_id, row.call_id, row.outcome) for row in rows]


def told(journal: FakeJournal, code: str) -> list[dict[str, str]]:
    return [line for line in journal.lines if line["ERROR_CODE"] == code]


def sid_of(hub: HubServer) -> str:
    return next(socket.sid for socket in hub._presence if socket.party.identity == "door")


# ------------------------------------------------------------------------------------------------------- who may


async def test_who_may_opens_it_and_the_yes_means_that_the_relay_has_switched(
    hub: HubServer, people: Household, entrance: Entrance, journal: FakeJournal
) -> None:
    flat = await people.join(FLATS)
    assert await flat.call("open_door", {"stationId": "door"}) == {"ok": True}
    assert entrance.is_open
    assert entrance.switched == 1
    assert await attempts(hub) == [(FLATS, "door", None, "opened")]
    (line,) = told(journal, "DOOR_OPENED")
    (heres,) = told(entrance.journal, "DOOR_OPENED")
    assert (line["USER_ID"], line["PEER"], line["COMMAND_ID"]) == (FLATS, "door", heres["COMMAND_ID"])
    await until(lambda: not entrance.is_open)


@pytest.mark.parametrize("who", [STRANGER, ATTICS])
async def test_who_may_not_is_refused_and_learns_nothing(
    hub: HubServer, people: Household, entrance: Entrance, journal: FakeJournal, who: str
) -> None:
    stranger = await people.join(who)
    replies = [
        await stranger.call("open_door", {"stationId": station, "callId": "c"})
        for station in ("door", "flat", "nowhere")
    ]
    assert [reply["code"] for reply in replies] == ["not_allowed"] * 3
    assert len({reply["message"] for reply in replies}) == 1, "nobody learns which stations there are"
    assert entrance.switched == 0
    assert await attempts(hub) == [(who, station, None, "not_allowed") for station in ("door", "flat", "nowhere")]
    assert [line["USER_ID"] for line in told(journal, "DOOR_REFUSED")] == [who] * 3


async def test_nobody_opens_anything(people: Household, entrance: Entrance) -> None:
    assert (await people.refused({"token": "wrong", "protocol": 1}))["data"]["code"] == "unauthorised"
    assert entrance.switched == 0


async def test_a_right_for_calls_counts_in_the_call_and_ends_with_it(
    hub: HubServer, people: Household, tokens: dict[str, str], journal: FakeJournal
) -> None:
    attic, flat, stranger = await people.join(ATTICS), await people.join(FLATS), await people.join(STRANGER)
    door = await people.join("door", capabilities=[DOOR])
    await talk(door, attic, "c", ATTICS)
    await talk(stranger, flat, "other", FLATS)
    in_call = {"stationId": "door", "callId": "c"}
    assert (await attic.call("open_door", {"stationId": "door"}))["code"] == "not_allowed"
    assert (await attic.call("open_door", {**in_call, "callId": "other"}))["code"] == "not_allowed"
    assert (await stranger.call("open_door", in_call))["code"] == "not_allowed"
    await attic.call("open_door", in_call)
    assert len(door.all("door_command")) == 1
    await door.call("end_call", {"callId": "c"})
    assert (await attic.call("open_door", in_call))["code"] == "not_allowed"
    assert len(door.all("door_command")) == 1
    calls = [call_id for who, _, call_id, _ in await attempts(hub) if who == ATTICS]
    assert calls == [None, None, "c", None], "a call is named where the two really talk, and nowhere else"


async def test_a_second_device_of_a_participant_is_not_in_the_call(people: Household, hub: HubServer) -> None:
    attic, tablet = await people.join(ATTICS), await people.join(ATTICS, "tablet")
    door = await people.join("door", capabilities=[DOOR])
    await talk(door, attic, "c", ATTICS)
    assert (await tablet.call("open_door", {"stationId": "door", "callId": "c"}))["code"] == "not_allowed"


async def test_a_revoked_right_acts_at_once(hub: HubServer, people: Household, entrance: Entrance) -> None:
    flat = await people.join(FLATS)
    async with hub._database.transaction() as connection:
        await connection.execute(sa.delete(rights))
    await hub._directory_changed()
    assert (await flat.call("open_door", {"stationId": "door"}))["code"] == "not_allowed"
    assert entrance.switched == 0


# ------------------------------------------------------------------------------------------------- late, twice, never


async def test_the_same_command_twice_is_carried_out_once(hub: HubServer, entrance: Entrance) -> None:
    wire, command = hub._signalling.wire, {"commandId": "replayed", "ttlMs": 2000}
    answers = [await wire.ask(sid_of(hub), DoorCommand.event, command, LIMIT_S) for _ in range(3)]  # type: ignore[attr-defined]
    assert answers == [{"ok": True, "switched": True}] * 3
    assert entrance.switched == 1


async def test_a_command_that_comes_too_late_is_not_carried_out(
    hub: HubServer, people: Household, entrance: Entrance
) -> None:
    flat = await people.join(FLATS)
    entrance.lateness_s = 5.0
    reply = await flat.call("open_door", {"stationId": "door"})
    assert reply["code"] == "expired"
    assert entrance.switched == 0
    assert await attempts(hub) == [(FLATS, "door", None, "expired")]


async def test_an_absent_station_is_refused_at_once_and_hears_nothing_later(
    hub: HubServer, people: Household, tokens: dict[str, str]
) -> None:
    flat = await people.join(FLATS)
    began_s = time.monotonic()
    assert (await flat.call("open_door", {"stationId": "door"}))["code"] == "user_offline"
    assert time.monotonic() - began_s < 1.0
    async with Entrance(hub, tokens["door"]).running() as entrance:
        assert (await flat.call("open_door", {"stationId": "door"}))["ok"]
        assert entrance.switched == 1, "the one of now, and none of before"
    assert [outcome for *_, outcome in await attempts(hub)] == ["user_offline", "opened"]


async def test_a_station_that_does_not_answer_has_perhaps_opened_and_a_hang_up_does_not_wait_for_it(
    hub: HubServer, people: Household, tokens: dict[str, str]
) -> None:
    flat = await people.join(FLATS)
    mute = Mute()
    people._clients.append(mute)
    auth = {"token": tokens["door"], "instance": "door-1", "protocol": 1, "capabilities": [DOOR]}
    assert await mute.connect(people.port, auth) is None
    await mute.call("resync", {})
    await talk(flat, mute, "c", "door")
    asking = asyncio.create_task(flat.call("open_door", {"stationId": "door", "callId": "c"}))
    await mute.hears("door_command")
    assert (await flat.call("end_call", {"callId": "c"}))["ok"]
    assert not asking.done()
    assert (await asking)["code"] == "unconfirmed"
    assert await attempts(hub) == [(FLATS, "door", "c", "unconfirmed")]
    kept = hub._signalling.wire._server.manager.callbacks.get(sid_of(hub), {})  # type: ignore[attr-defined]
    assert not [answer for answer in kept.values() if callable(answer)], (
        "nothing is kept for an answer that never comes"
    )
    mute.released.set()


async def test_only_a_switched_relay_is_an_opened_door(hub: HubServer, people: Household) -> None:
    """This client acknowledges everything with a plain `ok`."""
    flat, _door = await people.join(FLATS), await people.join("door", capabilities=[DOOR])
    assert (await flat.call("open_door", {"stationId": "door"}))["code"] == "unconfirmed"
    assert await attempts(hub) == [(FLATS, "door", None, "unconfirmed")]


# ------------------------------------------------------------------------------------------------- the station's part


async def test_a_relay_that_does_not_switch_is_told(
    hub: HubServer, people: Household, tokens: dict[str, str], journal: FakeJournal
) -> None:
    flat = await people.join(FLATS)
    async with Entrance(hub, tokens["door"], wired=False).running() as entrance:
        assert (await flat.call("open_door", {"stationId": "door"}))["code"] == "door_stuck"
        assert told(entrance.journal, "DOOR_STUCK")
    assert [outcome for *_, outcome in await attempts(hub)] == ["door_stuck"]
    (line,) = told(journal, "DOOR_REFUSED")
    assert "output door" in line["REASON"]


@pytest.mark.parametrize(
    ("remote", "talks", "code"),
    [("never", None, "no_door"), ("in_call", None, "not_allowed"), ("in_call", "c", None)],
)
async def test_the_stations_own_rule_stands_above_the_hubs(
    hub: HubServer, people: Household, tokens: dict[str, str], remote: Remote, talks: str | None, code: str | None
) -> None:
    flat = await people.join(FLATS)
    async with Entrance(hub, tokens["door"], remote, talk=talks).running() as entrance:
        assert (await flat.call("open_door", {"stationId": "door"})).get("code") == code
        assert entrance.switched == (code is None)


# ------------------------------------------------------------------------------------------------------ the hub's part


async def test_who_asks_too_often_is_told(hub: HubServer, people: Household, entrance: Entrance) -> None:
    flat = await people.join(FLATS)
    replies = [await flat.call("open_door", {"stationId": "door"}) for _ in range(8)]
    assert [reply.get("code") for reply in replies] == [None] * 6 + ["rate_limited"] * 2
    assert entrance.switched == 6


async def test_nothing_opens_that_cannot_be_written_down(hub: HubServer, people: Household, entrance: Entrance) -> None:
    flat = await people.join(FLATS)
    async with hub._database.transaction() as connection:
        await connection.execute(sa.text("ALTER TABLE door_openings RENAME TO elsewhere"))
    assert (await flat.call("open_door", {"stationId": "door"}))["code"] == "try_again"
    assert entrance.switched == 0


@pytest.mark.parametrize("payload", [{}, {"stationId": ""}, {"stationId": 7}, {"stationId": "x" * 129}, []])
async def test_a_wrong_shape_opens_nothing(people: Household, entrance: Entrance, payload: Any) -> None:
    flat = await people.join(FLATS)
    assert (await flat.call("open_door", payload))["code"] == "bad_request"
    assert entrance.switched == 0
