"""The real hub on loopback, with the real Socket.IO client: calls, refusals, restarts, records."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from intercomd.config import Hub
from intercomd.core.legs import Limits
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from intercomd.hub.storage.database import Database, call_legs, call_records
from tests.e2e.hub_clients import ANSWER, OFFER, Client, Household, enrol, household, settings, talk, until

STATIONS = ("door", "flat", "desk", "attic")


on_both = pytest.mark.parametrize(
    "config", ["sqlite", pytest.param("postgres", marks=pytest.mark.platform("postgres"))], indirect=True
)
"""Nothing but the URL differs."""


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Hub:
    if getattr(request, "param", "sqlite") == "sqlite":
        return settings(tmp_path)
    return settings(tmp_path, database_url=request.getfixturevalue("postgres_url"))


@pytest.fixture
async def tokens(config: Hub) -> dict[str, str]:
    loners = await enrol(config, "door", "attic")
    return {**loners, **await enrol(config, "flat", "desk", group="house")}


@pytest.fixture
async def hub(config: Hub, tokens: dict[str, str]) -> AsyncIterator[HubServer]:
    async with HubServer(config, FakeJournal()) as server:
        yield server


@pytest.fixture
async def people(hub: HubServer, tokens: dict[str, str]) -> AsyncIterator[Household]:
    async with household(hub.port, tokens) as all_of_them:
        yield all_of_them


async def rows(config: Hub, table: sa.Table) -> list[dict[str, Any]]:
    """What stands in the database after the hub has closed it."""
    database = Database(config.database_url)
    await database.open()
    try:
        async with database.transaction() as connection:
            return [dict(row._mapping) for row in await connection.execute(sa.select(table))]
    finally:
        await database.close()


# --------------------------------------------------------------------------------------------------------- calls


@on_both
async def test_what_no_database_can_store_is_a_bad_request(people: Household) -> None:
    """U+0000 in a name: refused for what it is; to try again would not help."""
    door = await people.join("door")
    for payload in (
        {"callId": "c\0", "recipientId": "flat"},
        {"callId": "c", "recipientId": "fl\0at"},
        {"callId": "c", "recipientId": "flat", "conversationId": "\0"},
    ):
        assert (await door.call("initiate_call", payload))["code"] == "bad_request", payload
    assert (await door.call("resync", {"calls": [{"callId": "\0", "epoch": 0, "phase": "x"}]}))["code"] == "bad_request"
    for wrong in ({"instance": "door\0"}, {"instance": "door", "capabilities": ["door\0"]}):
        refusal = await people.refused({"token": people.tokens["door"], "protocol": 1, **wrong})
        assert refusal["data"]["code"] == "unauthorised", refusal


@on_both
async def test_a_whole_call_and_its_record(config: Hub, tokens: dict[str, str]) -> None:
    async with HubServer(config, FakeJournal()) as hub, household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        incoming, accepted = flat.all("incoming_call")[0], door.all("call_accepted")[0]
        assert (incoming["callerId"], incoming["callerName"], incoming["ringTimeout"]) == ("door", "door", 60.0)
        assert (accepted["accepterId"], accepted["epoch"]) == ("flat", 1)
        offer = await flat.hears("webrtc_offer")
        assert (offer["offerId"], offer["epoch"], offer["sdp"]) == ("door", 1, OFFER)
        answer = await door.hears("webrtc_answer")
        assert (answer["answerId"], answer["epoch"], answer["sdp"]) == ("flat", 1, ANSWER)
        candidate = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        for payload in (candidate, None):
            await door.call("webrtc_ice_candidate", {"callId": "c", "epoch": 1, "candidate": payload})
            assert (await flat.hears("webrtc_ice_candidate"))["candidate"] == payload
            flat.heard.clear()
        figures = {"connectionTime": 0.2, "audioPacketsLost": 3, "jitter": 0.01, "roundTripTime": 0.02}
        assert (await flat.call("call_metrics", {"callId": "c", "metrics": figures}))["ok"]
        reply = await door.call("end_call", {"callId": "c", "duration": 4})
        assert (reply["call"]["phase"], reply["call"]["endReason"]) == ("ended", "completed")
        over = await flat.hears("call_ended")
        assert (over["enderId"], over["reason"]) == ("door", "completed")
    (record,) = await rows(config, call_records)
    assert {key: record[key] for key in ("call_id", "caller_id", "callee_id", "outcome", "reason", "ender_id")} == {
        "call_id": "c", "caller_id": "door", "callee_id": "flat", "outcome": "completed", "reason": "completed",
        "ender_id": "door",
    }  # fmt: skip
    assert record["created_at"] <= record["answered_at"] <= record["ended_at"]
    (leg,) = await rows(config, call_legs)
    assert (leg["identity"], leg["role"], leg["packets_lost"], leg["round_trip_s"]) == ("flat", "callee", 3, 0.02)


async def test_every_notice_of_a_call_counts_up(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, "c", "flat")
    await door.call("end_call", {"callId": "c"})
    await flat.hears("call_ended")
    for client in (door, flat):
        seqs = [payload["seq"] for _, payload in client.heard]
        assert seqs == sorted(set(seqs))


@on_both
async def test_ring_several(people: Household) -> None:
    door, flat, tablet = await people.join("door"), await people.join("flat"), await people.join("flat", "tablet")
    desk = await people.join("desk")
    reply = await door.call("initiate_call", {"callId": "c", "recipientId": "house"})
    assert reply["call"]["phase"] == "ringing"
    for client in (flat, tablet, desk):
        await client.hears("incoming_call")
    assert (await tablet.call("accept_call", {"callId": "c"}))["call"]["phase"] == "connecting"
    for client in (flat, desk):
        assert (await client.hears("call_cancelled"))["reason"] == "answered_elsewhere"
    assert (await flat.call("accept_call", {"callId": "c"}))["code"] == "not_this_device"
    late = await desk.call("accept_call", {"callId": "c"})
    assert late["ok"]
    assert (late["call"]["phase"], late["call"]["endReason"]) == ("ended", "answered_elsewhere")
    assert "calleeId" not in late["call"]


@on_both
async def test_one_members_no_and_then_everybodys(people: Household) -> None:
    door, flat, desk = await people.join("door"), await people.join("flat"), await people.join("desk")
    await door.call("initiate_call", {"callId": "c", "recipientId": "house"})
    await flat.hears("incoming_call")
    await flat.call("reject_call", {"callId": "c"})
    assert (await door.call("rejoin_call", {"callId": "c"}))["call"]["phase"] == "ringing"
    await desk.call("reject_call", {"callId": "c", "reason": "asleep"})
    assert (await door.hears("call_rejected"))["reason"] == "asleep"


@pytest.mark.parametrize(
    ("recipient", "reason"), [("flat", "busy"), ("attic", "user_offline"), ("nobody", "not_allowed")]
)
async def test_calls_that_cannot_ring(people: Household, recipient: str, reason: str) -> None:
    door, flat, desk = await people.join("door"), await people.join("flat"), await people.join("desk")
    await talk(flat, desk, "first", "desk")
    reply = await door.call("initiate_call", {"callId": "c", "recipientId": recipient})
    assert (reply["ok"], reply["call"]["phase"], reply["call"]["endReason"]) == (True, "ended", reason)
    assert (await door.hears("call_failed"))["reason"] == reason
    assert flat.all("incoming_call") == []


@on_both
async def test_glare_joins_the_two_who_called_each_other(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    replies = await asyncio.gather(
        door.call("initiate_call", {"callId": "d", "recipientId": "flat"}),
        flat.call("initiate_call", {"callId": "f", "recipientId": "door"}),
    )
    (first,) = {reply["call"]["callId"] for reply in replies}
    assert all(reply["ok"] and reply["call"]["phase"] == "ringing" for reply in replies)
    loser = flat if first == "d" else door
    assert (await loser.call("accept_call", {"callId": first}))["call"]["phase"] == "connecting"


@on_both
async def test_nobody_answers(config: Hub, tokens: dict[str, str]) -> None:
    limits = Limits(ring_s=0.2)
    async with HubServer(config, FakeJournal(), limits=limits) as hub, household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await door.call("initiate_call", {"callId": "c", "recipientId": "flat"})
        assert (await door.hears("call_failed"))["reason"] == "timeout"
        assert (await flat.hears("call_cancelled"))["reason"] == "timeout"
    (record,) = await rows(config, call_records)
    assert (record["outcome"], record["reason"]) == ("missed", "timeout")


@on_both
async def test_a_restart_gives_both_the_next_epoch(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, "c", "flat")
    replies = await asyncio.gather(
        door.call("webrtc_restart", {"callId": "c", "epoch": 1}),
        flat.call("webrtc_restart", {"callId": "c", "epoch": 1}),
    )
    assert sorted(reply.get("code", "") for reply in replies) == ["", "stale_epoch"]
    assert {reply["call"]["epoch"] for reply in replies} == {2}
    for client in (door, flat):
        assert (await client.hears("webrtc_restart"))["epoch"] == 2


# ------------------------------------------------------------------------------------------------------- presence


@on_both
async def test_who_vanishes_and_returns_is_reported_to_the_other(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, "c", "flat")
    await flat.close()
    state = (await door.hears("call_state"))["state"]
    assert (state["phase"], state["peerPresent"]) == ("interrupted", False)
    refused = await door.call("webrtc_offer", {"callId": "c", "epoch": 1, "sdp": OFFER})
    assert refused["code"] == "try_again"
    flat = await people.join("flat", resync=False)
    reply = await flat.call("resync", {"calls": [{"callId": "c", "epoch": 1, "phase": "connected"}]})
    assert [call["phase"] for call in reply["calls"]] == ["connected"]
    state = (await door.hears("call_state", 2))["state"]
    assert "peerPresent" not in state  # true, the default


async def test_a_late_disconnect_of_an_old_socket_does_not_remove_the_new_one(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, "c", "flat")
    newer = await people.join("flat")
    await flat.close()
    assert (await newer.call("rejoin_call", {"callId": "c"}))["call"]["phase"] == "connected"
    assert door.all("call_state") == []


@on_both
async def test_a_vanished_side_ends_the_call_after_its_grace(config: Hub, tokens: dict[str, str]) -> None:
    limits = Limits(grace_s=0.2)
    async with HubServer(config, FakeJournal(), limits=limits) as hub, household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        await flat.close()
        assert (await door.hears("call_ended"))["reason"] == "peer_lost"
        flat = await people.join("flat", resync=False)
        reply = await flat.call("resync", {"calls": [{"callId": "c", "epoch": 1, "phase": "connected"}]})
        assert [(call["phase"], call["endReason"]) for call in reply["calls"]] == [("ended", "peer_lost")]


@on_both
async def test_ringing_is_told_again_and_to_those_who_come_online(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await door.call("initiate_call", {"callId": "c", "recipientId": "house"})
    await flat.hears("incoming_call")
    await flat.close()
    flat, desk = await people.join("flat"), await people.join("desk")
    assert (await flat.hears("incoming_call"))["callId"] == "c"
    assert (await desk.hears("incoming_call"))["callId"] == "c"
    assert (await desk.call("accept_call", {"callId": "c"}))["ok"]


async def test_a_legacy_client_is_rung_without_a_resync(people: Household) -> None:
    door = await people.join("door")
    old = await people.join("flat", protocol=None, resync=False)
    await door.call("initiate_call", {"callId": "c", "recipientId": "flat"})
    await old.hears("incoming_call")
    assert (await old.call("accept_call", {"callId": "c", "recipientId": "door"}))["ok"]
    await door.call("webrtc_offer", {"callId": "c", "sdp": OFFER})
    assert (await old.call("webrtc_answer", {"callId": "c", "sdp": ANSWER}))["call"]["phase"] == "connected"


@on_both
async def test_a_legacy_client_that_connects_late_hears_the_ringing(people: Household) -> None:
    door, desk = await people.join("door"), await people.join("desk")
    await door.call("initiate_call", {"callId": "c", "recipientId": "house"})
    await desk.hears("incoming_call")
    old = await people.join("flat", protocol=None, resync=False)
    assert (await old.hears("incoming_call"))["callId"] == "c"


# ------------------------------------------------------------------------------------------- replays and strangers


@on_both
async def test_replayed_requests_change_nothing(config: Hub, tokens: dict[str, str]) -> None:
    async with HubServer(config, FakeJournal()) as hub, household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        script = [
            (door, "initiate_call", {"callId": "c", "recipientId": "flat"}),
            (flat, "accept_call", {"callId": "c"}),
            (door, "end_call", {"callId": "c"}),
        ]
        for client, event, payload in script:
            assert (await client.call(event, payload))["ok"]
        finals = [(await client.call(event, payload))["call"] for client, event, payload in script * 2]
        assert all(state["phase"] == "ended" and state["endReason"] == "completed" for state in finals)
        assert len({state["seq"] for state in finals}) == 1
        assert (len(flat.all("incoming_call")), len(flat.all("call_ended"))) == (1, 1)
    assert len(await rows(config, call_records)) == 1


async def test_a_stranger_can_neither_see_nor_change_a_call(people: Household) -> None:
    door, flat, thief = await people.join("door"), await people.join("flat"), await people.join("attic")
    await talk(door, flat, "c", "flat")
    for event, more in (
        ("accept_call", {}), ("reject_call", {}), ("cancel_call", {}), ("end_call", {}), ("rejoin_call", {}),
        ("webrtc_offer", {"sdp": OFFER}), ("webrtc_answer", {"sdp": ANSWER}),
        ("webrtc_ice_candidate", {"candidate": None}), ("webrtc_restart", {"epoch": 1}),
        ("call_metrics", {"metrics": {}}),
    ):  # fmt: skip
        reply = await thief.call(event, {"callId": "c", **more})
        assert (reply["code"], "call" in reply) == ("not_participant", False), event
    taken = await thief.call("initiate_call", {"callId": "c", "recipientId": "flat"})
    assert (taken["code"], "call" in taken) == ("call_id_taken", False)
    known = await thief.call("resync", {"calls": [{"callId": "c", "epoch": 1, "phase": "connected"}]})
    assert known["calls"] == []
    assert (await door.call("rejoin_call", {"callId": "c"}))["call"]["phase"] == "connected"
    assert thief.heard == []


async def test_another_device_of_the_same_identity_is_not_this_device(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, "c", "flat")
    tablet = await people.join("flat", "tablet")
    for event, more in (("end_call", {}), ("webrtc_restart", {"epoch": 1}), ("webrtc_answer", {"sdp": ANSWER})):
        assert (await tablet.call(event, {"callId": "c", **more}))["code"] == "not_this_device"
    assert (await door.call("rejoin_call", {"callId": "c"}))["call"]["phase"] == "connected"


# ------------------------------------------------------------------------------------------------- hub restarts


@on_both
async def test_a_restarted_hub_keeps_the_call(config: Hub, tokens: dict[str, str]) -> None:
    async with HubServer(config, FakeJournal()) as hub, household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        last = max(payload["seq"] for _, payload in door.heard + flat.heard)
    assert door.gone.is_set()
    async with HubServer(config, FakeJournal()) as hub, household(hub.port, tokens) as people:
        known = {"calls": [{"callId": "c", "epoch": 1, "phase": "connected"}]}
        door = await people.join("door", resync=False)
        (state,) = (await door.call("resync", known))["calls"]
        assert (state["phase"], state["peerPresent"]) == ("interrupted", False)
        assert state["seq"] > last
        flat = await people.join("flat", resync=False)
        (state,) = (await flat.call("resync", known))["calls"]
        assert (state["phase"], state["epoch"]) == ("connected", 1)
        await door.hears("call_state")
        assert (await flat.call("end_call", {"callId": "c"}))["call"]["phase"] == "ended"
        assert (await door.hears("call_ended"))["seq"] > last
    assert [record["outcome"] for record in await rows(config, call_records)] == ["completed"]


@on_both
async def test_records_of_stations_add_to_their_own_legs_only(config: Hub, tokens: dict[str, str]) -> None:
    async with HubServer(config, FakeJournal()) as hub, household(hub.port, tokens) as people:
        door, flat, thief = await people.join("door"), await people.join("flat"), await people.join("attic")
        await talk(door, flat, "c", "flat")
        await flat.call("call_metrics", {"callId": "c", "metrics": {"jitter": 0.5, "audioPacketsLost": 7}})
        await door.call("end_call", {"callId": "c"})
        claim = {
            "callId": "c", "peerId": "door", "role": "callee", "endReason": "media_failed", "startedAt": 1.0,
            "endedAt": 2.0, "metrics": {"jitter": 0.25, "callDuration": 9.0},
        }  # fmt: skip
        unseen = {**claim, "callId": "offline", "endReason": "network"}
        for client in (flat, flat, thief):
            assert (await client.call("upload_records", {"records": [claim, unseen]}))["ok"]
    records = {(record["call_id"], record["reported_by"]): record for record in await rows(config, call_records)}
    assert set(records) == {("c", ""), ("c", "attic"), ("offline", "flat"), ("offline", "attic")}
    assert records["c", ""]["reason"] == "completed"
    legs = {(leg["call_id"], leg["identity"]): leg for leg in await rows(config, call_legs)}
    assert set(legs) == {("c", "flat")}
    leg = legs["c", "flat"]
    assert (leg["jitter_s"], leg["packets_lost"], leg["duration_s"]) == (0.25, 7, 9.0)
    assert leg["reported_reason"] == "media_failed"


@on_both
async def test_figures_that_come_after_the_end_are_kept(config: Hub, tokens: dict[str, str]) -> None:
    async with HubServer(config, FakeJournal()) as hub, household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        await door.call("end_call", {"callId": "c"})
        assert (await flat.call("call_metrics", {"callId": "c", "metrics": {"callDuration": 3.5}}))["ok"]
    (leg,) = await rows(config, call_legs)
    assert leg["duration_s"] == 3.5


# ---------------------------------------------------------------------------------------------------------- HTTP


@on_both
async def test_health_says_how_it_is(hub: HubServer, people: Household) -> None:
    await people.join("door")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}") as http, http.get("/healthz") as response:
        assert response.status == 200
        state = await response.json()
    assert (state["ok"], state["database"], state["connections"], state["openCalls"]) == (True, True, 1, 0)


async def test_the_page_says_what_this_is_and_loads_nothing_from_elsewhere(hub: HubServer) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}") as http, http.get("/") as response:
        assert "Intercom" in await response.text()
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")


async def test_silence_of_the_database_is_told_to_health(hub: HubServer) -> None:
    await hub._database.close()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}") as http, http.get("/healthz") as response:
        assert response.status == 503
        assert not (await response.json())["database"]


async def test_a_graceful_stop_ends_connections_so_that_clients_come_back(config: Hub, tokens: dict[str, str]) -> None:
    async with HubServer(config, FakeJournal()) as hub:
        client = Client()
        assert await client.connect(hub.port, {"token": tokens["door"], "protocol": 1}) is None
    await until(client.gone.is_set)
    await client.close()
