"""Administrators at the real hub: the first one, passwords, one-time links, sessions and their end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.api import accounts as administration
from intercomd.hub.limits import Buckets, Rate
from intercomd.hub.people import administrators
from intercomd.hub.server import HubServer
from tests.e2e.administrators import PASSWORD, administrator, browser, made, order
from tests.e2e.hub_clients import settings
from tests.e2e.test_residents import Clock, clock, opened

__all__ = ("clock",)


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
async def hub(tmp_path: Path, clock: Clock, journal: FakeJournal) -> AsyncIterator[HubServer]:
    async with HubServer(settings(tmp_path), journal, clock=clock.hub_clock()) as server:
        yield server


async def test_a_new_hub_has_no_administrator_and_says_how_to_get_one(hub: HubServer, journal: FakeJournal) -> None:
    assert ErrorCode.HUB_NOT_SET_UP in journal.codes
    assert "set-up" in ErrorCode.HUB_NOT_SET_UP.value.advice
    async with browser(hub) as console:
        assert await console.get("/api/admin/session") == {"administrator": None, "isSetUp": False}
        for name in ("", "admin", "root", "administrator"):
            for password in ("", "admin", "password", "intercom"):
                status, _ = await console.ask("POST", "/api/admin/session", {"name": name or "-", "password": password})
                assert status in (403, 429)


async def test_the_first_administrator_comes_by_a_link_that_works_once(hub: HubServer, clock: Clock) -> None:
    code = await made(hub, "set-up")
    form = {"code": code, "name": "root", "password": PASSWORD}
    async with browser(hub) as first, browser(hub) as second:
        assert (await first.ask("POST", "/api/admin/password", form))[0] == 200
        assert (await first.name(), await first.get("/api/admin/session")) == (
            "root",
            {"administrator": {"name": "root"}, "isSetUp": True},
        )
        status, body = await second.ask("POST", "/api/admin/password", form)
        assert (status, body["code"]) == (403, "unauthorised")
    refused = await order(hub, "set-up")
    assert not refused.ok
    assert "add-admin" in refused.message


async def test_a_later_set_up_link_ends_the_earlier_one_and_all_end_after_a_day(hub: HubServer, clock: Clock) -> None:
    early, late = await made(hub, "set-up"), await made(hub, "set-up")
    async with browser(hub) as console:
        for code, wait_s in ((early, 0.0), (late, administrators.LINK_LIFE_S)):
            clock.now_s += wait_s
            form = {"code": code, "name": "root", "password": PASSWORD}
            assert (await console.ask("POST", "/api/admin/password", form))[0] == 403


async def test_a_link_for_the_first_needs_a_name_and_keeps_good_until_it_has_one(hub: HubServer) -> None:
    code = await made(hub, "set-up")
    async with browser(hub) as console:
        status, body = await console.ask("POST", "/api/admin/password", {"code": code, "password": PASSWORD})
        assert (status, body["code"]) == (400, "bad_request")
        form = {"code": code, "password": "short", "name": "root"}
        assert (await console.ask("POST", "/api/admin/password", form))[0] == 400
        form = {"code": code, "password": PASSWORD, "name": " root"}
        assert (await console.ask("POST", "/api/admin/password", form))[0] == 400
        await console.post("/api/admin/password", {"code": code, "password": PASSWORD, "name": "root"})


async def test_the_password_opens_and_nothing_else_does(hub: HubServer) -> None:
    async with administrator(hub), browser(hub) as console:
        for name, password in (("root", PASSWORD + "x"), ("root", ""), ("nobody", PASSWORD)):
            status, body = await console.sign_in(name, password)
            assert (status, body["code"], body["message"]) == (
                403,
                "unauthorised",
                "the name or the password is wrong",
            )
            assert await console.name() is None
        assert (await console.sign_in())[0] == 200
        assert await console.name() == "root"


async def test_a_password_is_the_same_however_its_letters_are_composed(hub: HubServer) -> None:
    async with administrator(hub) as console:
        form = {"current": PASSWORD, "password": "Tu\u0308rschlo\u00df 7 Nord"}
        await console.put("/api/admin/password", form)
        async with browser(hub) as other:
            assert (await other.sign_in(password="T\u00fcrschlo\u00df 7 Nord"))[0] == 200


async def test_too_many_attempts_wait_even_the_right_one(hub: HubServer) -> None:
    async with administrator(hub), browser(hub) as console:
        statuses = [(await console.sign_in(password="wrong wrong"))[0] for _ in range(8)]
        assert statuses[:4] == [403] * 4
        assert statuses[5:] == [429] * 3
        assert (await console.sign_in())[0] == 429


async def test_a_name_is_protected_from_many_addresses(hub: HubServer) -> None:
    part = next(part for part in hub._stewardship._parts if isinstance(part, administration.Administration))
    part._of_address = Buckets(Rate(1000.0, 1000.0))
    async with administrator(hub), browser(hub) as console:
        statuses = {(await console.sign_in(password="wrong wrong"))[0] for _ in range(25)}
        assert statuses == {403, 429}
        # A one-time link helps whom somebody keeps out so.
        code = await made(hub, "reset-admin", "root")
        await console.post("/api/admin/password", {"code": code, "password": PASSWORD})


async def test_a_session_ends_by_signing_out_and_by_time(hub: HubServer, clock: Clock) -> None:
    async with administrator(hub) as console, browser(hub) as other:
        assert (await other.sign_in())[0] == 200
        assert (await other.delete("/api/admin/session"))["administrator"] is None
        assert await other.name() is None
        assert await console.name() == "root"
        clock.now_s += administrators.SESSION_LIFE_S
        assert await console.name() is None
        assert (await console.ask("GET", "/api/admin/identities"))[0] == 401


async def test_another_password_ends_the_other_sessions(hub: HubServer) -> None:
    async with administrator(hub) as console, browser(hub) as other:
        assert (await other.sign_in())[0] == 200
        status, _ = await console.ask(
            "PUT", "/api/admin/password", {"current": "not this one", "password": "another password"}
        )
        assert status == 403
        assert await other.name() == "root"
        await console.put("/api/admin/password", {"current": PASSWORD, "password": "another password"})
        assert (await console.name(), await other.name()) == ("root", None)
        assert (await other.sign_in())[0] == 403
        assert (await other.sign_in(password="another password"))[0] == 200


async def test_a_reset_ends_every_session_only_when_it_is_used(hub: HubServer) -> None:
    async with administrator(hub) as console, browser(hub) as other:
        code = await made(hub, "reset-admin", "root")
        assert await console.name() == "root"
        await other.post("/api/admin/password", {"code": code, "password": "another password"})
        assert (await console.name(), await other.name()) == (None, "root")


async def test_administrators_add_and_remove_each_other_but_not_the_last(hub: HubServer) -> None:
    async with administrator(hub) as console, browser(hub) as other:
        made_link = await console.post("/api/admin/administrators", {"name": "deputy"})
        page, _, code = made_link["link"].partition("/admin#password=")
        assert page == console.origin
        assert made_link["svg"].startswith("<svg")
        await other.post("/api/admin/password", {"code": code, "password": PASSWORD})
        people = (await console.get("/api/admin/administrators"))["administrators"]
        assert [(one["name"], one["hasPassword"], one["sessions"]) for one in people] == [
            ("deputy", True, 1),
            ("root", True, 1),
        ]
        await other.delete("/api/admin/administrators/root")
        assert await console.name() is None
        status, body = await other.ask("DELETE", "/api/admin/administrators/deputy")
        assert status == 400
        assert "last" in body["message"]
    assert not (await order(hub, "reset-admin", "root")).ok
    assert not (await order(hub, "add-admin", "deputy")).ok


async def test_a_resident_of_the_same_name_is_somebody_else(hub: HubServer) -> None:
    async with administrator(hub, "tenant"), opened(hub, "tenant") as resident:
        assert (await resident.ask("GET", "/api/admin/identities"))[0] == 401


async def test_no_secret_is_written_down(hub: HubServer, journal: FakeJournal, tmp_path: Path) -> None:
    async with administrator(hub) as console:
        [cookie] = console.http.cookie_jar
        link = (await console.post("/api/admin/administrators", {"name": "deputy"}))["link"]
        secrets = (PASSWORD, cookie.value, link.partition("=")[2])
        status, _ = await console.sign_in("root", PASSWORD)
        assert status == 200
    written = repr(journal.lines).encode() + b"".join(
        file.read_bytes() for file in tmp_path.iterdir() if file.is_file()
    )
    assert [secret for secret in secrets if secret.encode() in written] == []
    assert b"$argon2id$" in written
