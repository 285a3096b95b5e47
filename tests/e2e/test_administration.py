"""The house as administrators keep it, at the real hub over HTTP; and every one of those routes asked by those who may
not."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.api import forms
from intercomd.hub.people import estate
from intercomd.hub.people.rights import Action
from intercomd.hub.server import HubServer
from intercomd.hub.web.answers import MAX_BODY_BYTES
from intercomd.hub.web.routes import Route, Who
from tests.e2e.administrators import Console, administrator, browser, made, order
from tests.e2e.hub_clients import Household, household, settings, until
from tests.e2e.test_residents import Clock, clock, opened, tab

__all__ = ("clock",)

IDENTITIES = "/api/admin/identities"


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
async def hub(tmp_path: Path, clock: Clock, journal: FakeJournal) -> AsyncIterator[HubServer]:
    async with HubServer(settings(tmp_path, grace_s=1), journal, clock=clock.hub_clock()) as server:
        yield server


@pytest.fixture
async def console(hub: HubServer) -> AsyncIterator[Console]:
    async with administrator(hub) as console:
        yield console


async def station(hub: HubServer, name: str) -> str:
    return await made(hub, "add-station", name)


async def refused(console: Console, method: str, path: str, json: Any = None) -> tuple[int, str]:
    status, body = await console.ask(method, path, json)
    assert set(body) == {"code", "message"}, body
    return status, body["message"]


async def entry(console: Console, name: str) -> dict[str, Any]:
    [found] = [one for one in (await console.get(IDENTITIES))["identities"] if one["id"] == name]
    return found


# ---------------------------------------------------------------------------------------------------------- who may


def administrators_routes(hub: HubServer) -> list[Route]:
    return [route for route in hub.routes if route.who is Who.ADMINISTRATOR]


def url(route: Route) -> str:
    return re.sub(r"[{]\w+[}]", "gate", route.path)


def body_of(route: Route) -> Any:
    """One that is right, where a route has one: a refusal is for who asks, not for how."""
    examples: dict[type, dict[str, Any]] = {
        forms.ChangePassword: {"current": "", "password": "another password"},
        forms.NewAdministrator: {"name": "deputy"},
        forms.NewIdentity: {"id": "cellar", "role": "station"},
        forms.IdentityChange: {"banned": True},
        forms.NewPairing: {"station": "gate"},
        forms.GroupChange: {"members": []},
        forms.RightForm: {"subject": "*", "action": "door", "object": "gate", "allowed": True},
    }
    return examples.get(route.body, {})


async def snapshot(hub: HubServer) -> Any:
    async with hub._database.transaction() as connection:
        tables = ("identities", "members", "rights", "tokens", "administrators", "administrator_tokens", "pairings")
        return [
            (table, sorted(map(repr, await connection.exec_driver_sql(f"SELECT * FROM {table}")))) for table in tables
        ]


async def test_there_are_routes_and_each_says_what_it_refuses(hub: HubServer) -> None:
    routes = administrators_routes(hub)
    assert len(routes) > 15
    for route in routes:
        assert {401, 429, 503} <= set(route.refusals), route.path
        assert route.method == "GET" or 403 in route.refusals, route.path


@pytest.mark.parametrize("who", ["nobody", "a stranger", "a resident", "a station"])
async def test_nobody_else_administers(hub: HubServer, console: Console, who: str) -> None:
    token = await station(hub, "gate")
    async with opened(hub, "tenant") as resident, browser(hub) as stranger:
        before = await snapshot(hub)
        for route in administrators_routes(hub):
            headers: dict[str, str] = {}
            if who == "a stranger":
                headers = {"Cookie": "intercom-admin=" + "x" * 43}
            if who == "a station":
                headers = {"Authorization": f"Bearer {token}", "Cookie": f"intercom-admin={token}"}
            if who == "a resident":
                session = resident.cookie.partition("=")[2]
                headers = {"Cookie": f"intercom={session}; intercom-admin={session}"}
            status, body = await stranger.ask(route.method, url(route), body_of(route), headers=headers)
            assert status in (401, 429), (route.method, route.path)
            assert body["code"] in ("unauthorised", "rate_limited")
            await asyncio.sleep(0.2 if status == 429 else 0)
        assert await snapshot(hub) == before


@pytest.mark.parametrize("origin", [None, "https://elsewhere.example", "null", "http://127.0.0.1:1"])
async def test_nothing_changes_at_another_page_s_request(hub: HubServer, console: Console, origin: str | None) -> None:
    await station(hub, "gate")
    before = await snapshot(hub)
    for route in hub.routes:
        if route.path.startswith("/api/admin/") and route.method != "GET":
            status, body = await console.ask(route.method, url(route), body_of(route), origin=origin)
            assert (status, body["code"]) == (403, "not_allowed"), (route.method, route.path)
    assert await snapshot(hub) == before


async def test_every_body_is_judged_by_its_struct(hub: HubServer, console: Console) -> None:
    await station(hub, "gate")
    before = await snapshot(hub)
    with_body = [route for route in administrators_routes(hub) if route.body is not None]
    assert len(with_body) >= 8
    for route in with_body:
        headers = {"Content-Type": "application/json"}
        for data, status in (
            (b"", 400),
            (b"nonsense", 400),
            (b"[]", 400),
            (b'{"surprise": 1}', 400),
            (b"[" * 20_000, 400),
            (b'"' + b"x" * MAX_BODY_BYTES + b'"', 413),
            (b'"' + b"x" * 10 * MAX_BODY_BYTES + b'"', 413),
        ):
            found, body = await console.ask(route.method, url(route), data=data, headers=headers)
            assert (found, body["code"]) in ((status, "bad_request"), (429, "rate_limited")), (route.path, data[:20])
        sent = msgspec.json.encode(body_of(route))
        found, body = await console.ask(route.method, url(route), data=sent, headers={"Content-Type": "text/plain"})
        assert found in (400, 429), route.path
        await asyncio.sleep(0.4)  # twenty requests a second are an administrator's share
    assert await snapshot(hub) == before


async def test_an_administrator_who_asks_without_end_waits(console: Console) -> None:
    statuses = [(await console.ask("GET", "/api/admin/rights"))[0] for _ in range(90)]
    assert set(statuses) == {200, 429}


# ------------------------------------------------------------------------------------------------------- identities


async def test_identities_are_added_renamed_and_removed(hub: HubServer, console: Console) -> None:
    added = await console.post(IDENTITIES, {"id": "gate", "role": "station", "name": "Gate, north", "group": "doors"})
    assert added == {
        "id": "gate", "name": "Gate, north", "role": "station", "groups": ["doors"], "banned": False,
        "hasToken": False, "sessions": 0, "isInvited": False, "retiringUntil": None, "devices": 0,
        "createdAt": added["createdAt"],
        "policy": {"doNotDisturbUntil": None, "quietFromMin": None, "quietToMin": None, "busy": "refuse"},
    }  # fmt: skip
    assert (await console.ask("PATCH", f"{IDENTITIES}/gate", {"name": "Gate"}))[1]["name"] == "Gate"
    assert (await console.ask("PATCH", f"{IDENTITIES}/gate", {"banned": False}))[1]["name"] == "Gate"
    assert (await console.ask("PATCH", f"{IDENTITIES}/gate", {"name": None}))[1]["name"] == "gate"
    await console.delete(f"{IDENTITIES}/gate")
    assert [one["id"] for one in (await console.get(IDENTITIES))["identities"]] == ["doors"]
    status, text = await refused(console, "DELETE", f"{IDENTITIES}/gate")
    assert status == 404
    assert "gate" in text


async def test_names_that_would_confuse_are_refused(hub: HubServer, console: Console) -> None:
    await console.post(IDENTITIES, {"id": "gate", "role": "station", "name": "Front"})
    for body, status in (
        ({"id": "gate", "role": "station"}, 409),
        ({"id": "gate", "role": "resident"}, 409),
        ({"id": "*", "role": "group"}, 400),
        ({"id": " door", "role": "station"}, 400),
        ({"id": "a\nb", "role": "station"}, 400),
        ({"id": "door", "role": "station", "name": "Front"}, 409),
        ({"id": "door", "role": "station", "name": "gate"}, 409),
        ({"id": "door", "role": "administrator"}, 400),
        ({"id": "door", "role": "station", "group": "gate"}, 400),
        ({"id": "a group", "role": "group", "group": "doors"}, 400),
        ({"id": "x" * 65, "role": "station"}, 400),
    ):
        assert (await refused(console, "POST", IDENTITIES, body))[0] == status, body
    assert [one["id"] for one in (await console.get(IDENTITIES))["identities"]] == ["gate"]


async def test_a_name_with_a_slash_has_a_path_too(console: Console) -> None:
    await console.post(IDENTITIES, {"id": "house 1/门", "role": "resident"})
    await console.put(f"{IDENTITIES}/house%201%2F%E9%97%A8/policy", {"quietFromMin": 1320, "quietToMin": 420})
    assert (await entry(console, "house 1/门"))["policy"]["quietFromMin"] == 1320


async def test_the_shown_name_is_what_others_see(hub: HubServer, console: Console) -> None:
    await station(hub, "gate")
    async with opened(hub, "tenant") as resident:
        await console.ask("PATCH", f"{IDENTITIES}/gate", {"name": "Gate, north"})
        _, body = await resident.ask("GET", "/api/directory")
        assert [(one["id"], one["name"]) for one in body["entries"]] == [("gate", "Gate, north")]


# ------------------------------------------------------------------------------------------ tokens, at once, in calls


async def talking(hub: HubServer, people: Household) -> tuple[Any, Any]:
    door, flat = await people.join("door"), await people.join("flat")
    await door.call("initiate_call", {"callId": "c", "recipientId": "flat"})
    await flat.hears("incoming_call")
    await flat.call("accept_call", {"callId": "c"})
    return door, flat


@pytest.mark.parametrize("how", ["revoke", "ban", "remove", "rotate now"])
async def test_what_is_taken_away_ends_socket_and_call_at_once(hub: HubServer, console: Console, how: str) -> None:
    tokens = {name: await station(hub, name) for name in ("door", "flat")}
    async with household(hub.port, tokens) as people:
        door, flat = await talking(hub, people)
        match how:
            case "revoke":
                await console.post(f"{IDENTITIES}/flat/revoke")
            case "ban":
                await console.ask("PATCH", f"{IDENTITIES}/flat", {"banned": True})
            case "remove":
                await console.delete(f"{IDENTITIES}/flat")
            case "rotate now":
                await console.post(f"{IDENTITIES}/flat/rotate", {"now": True})
        async with asyncio.timeout(5):
            await flat.gone.wait()
            await door.hears("call_ended")
        refusal = await people.refused({"token": tokens["flat"], "instance": "1", "protocol": 1})
        assert refusal["data"]["code"] == ("banned" if how == "ban" else "unauthorised")


async def test_who_is_no_longer_banned_comes_back_with_the_same_token(hub: HubServer, console: Console) -> None:
    tokens = {"gate": await station(hub, "gate")}
    async with household(hub.port, tokens) as people:
        for banned in (True, False):
            await console.ask("PATCH", f"{IDENTITIES}/gate", {"banned": banned})
        await people.join("gate")


async def test_a_banned_resident_is_signed_out_of_everything(hub: HubServer, console: Console) -> None:
    async with opened(hub, "tenant") as resident, tab(resident) as page:
        await console.ask("PATCH", f"{IDENTITIES}/tenant", {"banned": True})
        async with asyncio.timeout(5):
            await page.gone.wait()
        assert (await resident.ask("GET", "/api/directory"))[0] == 401
        await console.ask("PATCH", f"{IDENTITIES}/tenant", {"banned": False})
        assert (await resident.ask("GET", "/api/directory"))[0] == 200


async def test_a_rotated_token_works_beside_the_new_one_for_a_day(
    hub: HubServer, console: Console, clock: Clock
) -> None:
    former = await station(hub, "gate")
    answer = await console.post(f"{IDENTITIES}/gate/rotate")
    assert answer["retiringUntil"] == clock.now_s + estate.OVERLAP_S
    assert (await entry(console, "gate"))["retiringUntil"] == answer["retiringUntil"]
    async with household(hub.port, {"gate": former}) as before, household(hub.port, {"gate": answer["token"]}) as after:
        old, new = await before.join("gate"), await after.join("gate", "2")
        clock.now_s += estate.OVERLAP_S - 1
        assert await hub._stewardship.end_overlaps_once() == pytest.approx(1.0)
        assert (await old.call("heartbeat", {"t": 0.0}))["ok"]
        clock.now_s += 1
        await hub._stewardship.end_overlaps_once()
        async with asyncio.timeout(5):
            await old.gone.wait()
        assert (await new.call("heartbeat", {"t": 0.0}))["ok"]
        await before.refused({"token": former, "instance": "1", "protocol": 1})


async def test_a_second_rotation_ends_the_first_former_token(hub: HubServer, console: Console) -> None:
    tokens = [await station(hub, "gate")]
    for _ in range(2):
        tokens.append((await console.post(f"{IDENTITIES}/gate/rotate"))["token"])
    async with household(hub.port, {}) as people:
        await people.refused({"token": tokens[0], "instance": "1", "protocol": 1})
        people.tokens = dict(zip("abc", tokens, strict=True))
        await people.join("b")
        await people.join("c")


async def test_only_stations_have_tokens_and_only_residents_invitations(hub: HubServer, console: Console) -> None:
    await station(hub, "gate")
    await console.post(IDENTITIES, {"id": "tenant", "role": "resident"})
    assert (await refused(console, "POST", f"{IDENTITIES}/tenant/rotate", {}))[0] == 400
    assert (await refused(console, "POST", f"{IDENTITIES}/gate/invitation", {}))[0] == 400
    assert (await refused(console, "POST", f"{IDENTITIES}/nobody/invitation", {}))[0] == 404
    link = await console.post(f"{IDENTITIES}/tenant/invitation")
    assert (await entry(console, "tenant"))["isInvited"]
    async with opened(hub) as resident:
        assert (await resident.sign_in(link["link"].partition("#")[2]))[0] == 200
        found = await entry(console, "tenant")
        assert (found["isInvited"], found["sessions"]) == (False, 1)


# ------------------------------------------------------------------------------------------------- groups and rights


async def test_a_group_keeps_its_order_and_its_way_to_ring(hub: HubServer, console: Console) -> None:
    for name in ("tenant", "ben", "zoe", "office"):
        await console.post(IDENTITIES, {"id": name, "role": "resident"})
    form = {"members": ["zoe", "tenant", "ben"], "mode": "sequence", "eachS": 20.0, "escalateTo": "office"}
    answer = await console.put("/api/admin/groups/family", form)
    assert answer == {"id": "family", "name": "family", **form}
    assert (await console.get("/api/admin/groups"))["groups"] == [answer]
    group = hub._registry.directory.group(answer["id"])
    assert group is not None
    assert group.members == ("zoe", "tenant", "ben")
    await console.delete(f"{IDENTITIES}/office")
    assert (await console.get("/api/admin/groups"))["groups"] == [{**answer, "escalateTo": None}]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"members": ["nobody"]}, 404),
        ({"members": ["tenant", "tenant"]}, 400),
        ({"members": ["other"]}, 400),
        ({"members": [], "escalateTo": "family"}, 400),
        ({"members": [], "escalateTo": "other"}, 400),
        ({"members": [], "eachS": 0.0}, 400),
        ({"members": ["tenant"] * 300}, 400),
        ({"members": [], "mode": "random"}, 400),
    ],
)
async def test_a_group_that_cannot_ring_is_refused(console: Console, form: dict[str, Any], status: int) -> None:
    await console.post(IDENTITIES, {"id": "tenant", "role": "resident"})
    await console.put("/api/admin/groups/family", {"members": ["tenant"]})
    await console.put("/api/admin/groups/other", {"members": [], "escalateTo": "family"})
    assert (await refused(console, "PUT", "/api/admin/groups/family", form))[0] == status
    assert hub_group(await console.get("/api/admin/groups"))["members"] == ["tenant"]


def hub_group(body: dict[str, Any]) -> dict[str, Any]:
    return next(group for group in body["groups"] if group["id"] == "family")


async def test_rights_act_at_once(hub: HubServer, console: Console) -> None:
    tokens = {name: await station(hub, name) for name in ("door", "flat")}
    async with household(hub.port, tokens) as people:
        door, _ = await people.join("door"), await people.join("flat")
        rule = {"subject": "door", "action": "call", "object": "flat", "allowed": False}
        assert (await console.put("/api/admin/rights", rule))["rights"] == [rule]
        await door.call("initiate_call", {"callId": "c1", "recipientId": "flat"})
        assert (await door.hears("call_failed"))["reason"] == "not_allowed"
        assert (await console.put("/api/admin/rights", {**rule, "allowed": True}))["rights"] == [
            {**rule, "allowed": True}
        ]
        reply = await door.call("initiate_call", {"callId": "c2", "recipientId": "flat"})
        assert reply["call"]["phase"] == "ringing"
        left = await console.delete("/api/admin/rights?subject=door&action=call&object=flat")
        assert left == {"rights": []}


@pytest.mark.parametrize(
    "rule",
    [
        {"subject": "nobody", "action": "call", "object": "door", "allowed": True},
        {"subject": "door", "action": "call", "object": "nobody", "allowed": True},
        {"subject": "door", "action": "door", "object": "tenant", "allowed": True},
        {"subject": "door", "action": "dance", "object": "door", "allowed": True},
    ],
)
async def test_a_rule_about_nobody_is_refused(hub: HubServer, console: Console, rule: dict[str, Any]) -> None:
    await station(hub, "door")
    await order(hub, "invite", "tenant")
    assert (await refused(console, "PUT", "/api/admin/rights", rule))[0] in (400, 404)
    assert (await console.get("/api/admin/rights"))["rights"] == []


async def test_a_removed_identity_leaves_no_rule_behind(hub: HubServer, console: Console) -> None:
    await station(hub, "door")
    await order(hub, "invite", "tenant")
    for rule in (("tenant", "door"), ("door", "tenant"), ("*", "door")):
        body = {"subject": rule[0], "action": "call", "object": rule[1], "allowed": True}
        await console.put("/api/admin/rights", body)
    await console.delete(f"{IDENTITIES}/tenant")
    assert [rule["subject"] for rule in (await console.get("/api/admin/rights"))["rights"]] == ["*"]


async def test_rights_by_command(hub: HubServer) -> None:
    await station(hub, "door")
    await order(hub, "invite", "tenant")
    for command, action, allowed in (("allow", "door", True), ("forbid", "call", False)):
        assert (await order(hub, command, "tenant", action=Action(action), object="door")).ok
        assert (allowed, action) in [(rule.allowed, rule.action) for rule in (await order(hub, "rights")).rules]
    assert (await order(hub, "clear", "tenant", action=Action.DOOR, object="door")).ok
    assert [rule.action for rule in (await order(hub, "rights")).rules] == ["call"]
    assert not (await order(hub, "allow", "tenant", action=Action.DOOR, object="nowhere")).ok


# --------------------------------------------------------------------------------------------- policies, reachability


async def test_a_policy_is_kept_whole(hub: HubServer, console: Console) -> None:
    await order(hub, "invite", "tenant")
    form = {"doNotDisturbUntil": 1_900_000_000.0, "quietFromMin": 1320, "quietToMin": 420, "busy": "queue"}
    assert await console.put(f"{IDENTITIES}/tenant/policy", form) == form
    assert (await entry(console, "tenant"))["policy"] == form
    assert (await console.put(f"{IDENTITIES}/tenant/policy", {}))["quietFromMin"] is None
    for wrong in ({"quietFromMin": 1320}, {"quietFromMin": 1440, "quietToMin": 0}, {"busy": "shout"}):
        assert (await refused(console, "PUT", f"{IDENTITIES}/tenant/policy", wrong))[0] == 400


async def test_the_board_tells_who_can_be_rung_and_when_that_was_proven(
    hub: HubServer, console: Console, clock: Clock
) -> None:
    tokens = {"gate": await station(hub, "gate"), "cellar": await station(hub, "cellar")}

    async def reach(name: str) -> dict[str, Any]:
        board = (await console.get("/api/admin/reachability"))["board"]
        return next(one for one in board if one["id"] == name)

    assert (await reach("gate"))["lastProven"] is None
    async with household(hub.port, tokens) as people:
        await people.join("gate")
        connected = clock.now_s
        clock.now_s += 600
        found = await reach("gate")
        assert (found["online"], found["devices"], found["inCall"]) == (True, 1, False)
        assert found["connectedSince"] == connected
        assert found["lastProven"] == pytest.approx(clock.now_s, abs=5)
        assert not (await reach("cellar"))["online"]
    await until(lambda: not len(hub._presence))
    gone = clock.now_s
    clock.now_s += 600
    assert (await reach("gate"))["lastProven"] == pytest.approx(gone, abs=5)
    await hub._stewardship.reachability.write()
    found = await reach("gate")
    assert (found["online"], found["connectedSince"]) == (False, None)
    assert found["lastProven"] == pytest.approx(gone, abs=5)


async def test_the_board_shows_calls_and_quiet(hub: HubServer, console: Console, clock: Clock) -> None:
    tokens = {name: await station(hub, name) for name in ("door", "flat")}
    async with household(hub.port, tokens) as people:
        await talking(hub, people)
        await console.put(f"{IDENTITIES}/flat/policy", {"doNotDisturbUntil": clock.now_s + 60})
        board = {one["id"]: one for one in (await console.get("/api/admin/reachability"))["board"]}
        assert [board[name]["inCall"] for name in ("door", "flat")] == [True, True]
        assert [board[name]["doNotDisturb"] for name in ("door", "flat")] == [False, True]


async def test_the_journal_tells_who_changed_what(hub: HubServer, console: Console, journal: FakeJournal) -> None:
    await console.post(IDENTITIES, {"id": "gate", "role": "station"})
    token = (await console.post(f"{IDENTITIES}/gate/rotate"))["token"]
    lines = [line for line in journal.lines if line["ERROR_CODE"] == ErrorCode.ADMINISTERED.name]
    assert [line["USER_ID"] for line in lines] == ["root", "root"]
    assert "gate" in lines[0]["MESSAGE"]
    assert token not in repr(journal.lines)
