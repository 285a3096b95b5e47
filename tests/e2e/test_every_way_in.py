"""Every event and every route that there is, taken from the hub's own tables, so that none can be forgotten: tried by
nobody, by a stranger, by the other device of one who takes part, again, too large, and a hundred times as often as
allowed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from intercomd.core.protocol import REQUESTS
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from intercomd.hub.web.routes import Route, Who
from tests.e2e.hub_clients import ANSWER, OFFER, Client, Household, enrol, household, settings, talk
from tests.e2e.test_residents import opened

CALL = "the-talk-of-others"
FIELDS: dict[str, Any] = {
    "callId": CALL, "recipientId": "flat", "stationId": "door", "epoch": 1, "candidate": None, "metrics": {},
    "calls": [{"callId": CALL, "epoch": 1, "phase": "connected"}], "until": 0.0, "t": 1.0, "phase": "connected",
}  # fmt: skip
HARMLESS = {"resync", "heartbeat", "set_do_not_disturb", "upload_records"}
"""They speak of the sender alone; what they answer is looked at all the same."""


def payload(event: str) -> dict[str, Any]:
    """One that would do something, from the right sender."""
    made = {field.encode_name: FIELDS[field.encode_name]
            for field in msgspec.structs.fields(REQUESTS[event]) if field.encode_name in FIELDS}  # fmt: skip
    record = {
        "callId": CALL,
        "peerId": "flat",
        "role": "caller",
        "endReason": "completed",
        "startedAt": 1,
        "endedAt": 2,
    }
    more = {"webrtc_offer": {"sdp": OFFER}, "webrtc_answer": {"sdp": ANSWER}, "upload_records": {"records": [record]}}
    return {**made, **more.get(event, {})}


@pytest.fixture
async def tokens(tmp_path: Path) -> dict[str, str]:
    return await enrol(settings(tmp_path), "door", "flat", "attic")


@pytest.fixture
async def hub(tmp_path: Path, tokens: dict[str, str]) -> AsyncIterator[HubServer]:
    async with HubServer(settings(tmp_path), FakeJournal(), metrics_token="k" * 40) as server:
        yield server


@pytest.fixture
async def people(hub: HubServer, tokens: dict[str, str]) -> AsyncIterator[Household]:
    async with household(hub.port, tokens) as all_of_them:
        yield all_of_them


async def seen(door: Client) -> dict[str, Any]:
    state: dict[str, Any] = (await door.call("rejoin_call", {"callId": CALL}))["call"]
    return state


# ------------------------------------------------------------------------------------------------------- every event


@pytest.mark.parametrize("event", REQUESTS)
async def test_others_neither_change_a_talk_nor_see_it(people: Household, event: str) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, CALL, "flat")
    before = await seen(door)
    for name, instance in (("attic", "1"), ("flat", "2"), ("door", "2")):
        other = await people.join(name, instance)
        reply = await other.call(event, payload(event))
        assert event in HARMLESS or not reply["ok"], reply
        # One's other device may know that there is a call, which is over for it.
        shown = [*reply.get("calls", []), *filter(None, [reply.get("call")])]
        assert all(name != "attic" and state["phase"] == "ended" for state in shown), reply
        assert OFFER["sdp"] not in json.dumps([reply, other.heard])
    assert await seen(door) == before


@pytest.mark.parametrize("event", sorted(set(REQUESTS) - {"open_door"}))
async def test_again_it_does_nothing_more(people: Household, event: str) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, CALL, "flat")
    sender = flat if event in ("accept_call", "reject_call", "webrtc_answer") else door
    first = await sender.call(event, payload(event))
    after, heard = await seen(door), len(flat.heard)
    again = await sender.call(event, payload(event))
    assert again["ok"] == first["ok"] or again["code"] == "stale_epoch", again
    now = await seen(door)
    assert {**now, "seq": 0} == {**after, "seq": 0}
    told = [name for name, _ in flat.heard[heard:] if name not in ("heartbeat", "webrtc_offer", "webrtc_ice_candidate")]
    assert told == [], "what is relayed may come twice, what has happened is told once"


# ------------------------------------------------------------------------------------------------------- every route


def url(hub: HubServer, route: Route) -> str:
    return f"http://127.0.0.1:{hub.port}" + re.sub(r"[{]\w+[}]", "gate", route.path)


async def asked(hub: HubServer, route: Route, headers: dict[str, str], body: bytes = b"{}") -> int:
    """The status of the answer."""
    sent = {"Origin": f"http://127.0.0.1:{hub.port}", "Content-Type": "application/json", **headers}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        http.request(route.method, url(hub, route), headers=sent, data=None if route.method == "GET" else body) as it,
    ):
        await it.read()
        return it.status


@pytest.mark.parametrize("who", ["nobody", "a resident", "a station"])
async def test_each_route_is_for_those_whom_it_names(hub: HubServer, tokens: dict[str, str], who: str) -> None:
    async with opened(hub, "flat-phone") as resident:
        session = resident.cookie.partition("=")[2]
        headers = {
            "nobody": {},
            "a resident": {"Cookie": f"intercom={session}; intercom-admin={session}"},
            "a station": {"Authorization": f"Bearer {tokens['attic']}"},
        }[who]
        theirs = {"nobody": set(), "a resident": {Who.RESIDENT}, "a station": {Who.STATION}}[who] | {Who.ANYBODY}
        for route in hub.routes:
            if route.who not in theirs:
                status = await asked(hub, route, headers)
                assert status in (401, 403, 429), (route.method, route.path, status)
                await asyncio.sleep(0.2 if status == 429 else 0)


async def test_no_route_takes_more_than_a_message_may_have(hub: HubServer, people: Household) -> None:
    door = await people.join("door")
    for route in hub.routes:
        if route.body is not None:
            status = await asked(hub, route, {}, b'{"name": "' + b"x" * (4 * MAX_MESSAGE_BYTES) + b'"}')
            assert 400 <= status < 500, (route.method, route.path, status)
            await asyncio.sleep(0.2 if status == 429 else 0)
    assert (await door.call("heartbeat", {"t": 1.0}))["ok"]


async def test_who_asks_far_too_often_breaks_nothing(hub: HubServer, people: Household) -> None:
    door = await people.join("door")
    for route in hub.routes:
        statuses = await asyncio.gather(*(asked(hub, route, {"Authorization": "Bearer wrong"}) for _ in range(40)))
        assert max(statuses) < 500, (route.method, route.path)
        if route.who is not Who.ANYBODY:
            assert min(statuses) >= 400, (route.method, route.path)
    assert (await door.call("heartbeat", {"t": 1.0}))["ok"], "those who are known are served"
