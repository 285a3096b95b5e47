"""`intercomd hub COMMAND`, as an operator types it: with a hub that runs, and with one that does not; and the same
over HTTP on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from intercomd.config import Config, Hub
from intercomd.fakes.journal import FakeJournal
from intercomd.hub import admin
from intercomd.hub.people import estate
from intercomd.hub.server import HubServer
from intercomd.link.pairing import pair, parse
from tests.e2e.administrators import PASSWORD, administrator, browser
from tests.e2e.hub_clients import settings

Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def config(tmp_path: Path) -> Hub:
    return settings(tmp_path, tls="local", tls_dir=str(tmp_path / "tls"))


@pytest.fixture
def command(config: Hub, capsys: pytest.CaptureFixture[str]) -> Command:
    """Exit status, stdout, stderr."""

    async def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = await asyncio.to_thread(admin.main, Config(hub=config), argv)
        told = capsys.readouterr()
        return status, told.out.strip(), told.err

    return run


@pytest.fixture
async def hub(config: Hub) -> AsyncIterator[HubServer]:
    async with HubServer(config, FakeJournal()) as server:
        yield server


async def test_the_first_administrator_s_link_before_and_after(command: Command, config: Hub) -> None:
    status, link, told = await command("set-up")
    assert status == 0
    page, _, code = link.partition("/admin#set-up=")
    assert page.startswith("https://")
    assert len(code) > 40
    assert "once" in told
    plain = Hub(**{field: getattr(config, field) for field in ("port", "database_url")})
    async with HubServer(plain, FakeJournal()) as hub, browser(hub) as console:
        await console.post("/api/admin/password", {"code": code, "name": "root", "password": PASSWORD})
        status, _, told = await command("set-up")
        assert (status, "set up already" in told) == (1, True)
        assert (await command("reset-admin", "root"))[1].partition("#")[2].startswith("password=")
        assert (await command("reset-admin", "nobody"))[0] == 1
        assert (await command("add-admin", "root"))[0] == 1


async def test_a_pairing_line_for_the_card_and_digits_to_type(hub: HubServer, command: Command, config: Hub) -> None:
    status, line, drawn = await command("pair", "gate")
    assert status == 0
    assert any(block in drawn for block in "█▀▄"), "a QR code"
    offer = parse(line)
    assert offer.fingerprint == hub._stewardship.authority.fingerprint
    # The settings say port 0, any free one: the command cannot know which.
    address = f"https://127.0.0.1:{hub.port}"
    got = await asyncio.to_thread(pair, type(offer)(address, offer.code, offer.fingerprint))
    assert hub._registry.directory.by_token(got.token) is not None
    status, digits, told = await command("pair", "gate", "--typed")
    assert (status, len(digits.replace(" ", ""))) == (0, 8)
    assert offer.fingerprint in told
    assert "intercomd pair" in told


async def test_digits_are_not_made_where_nothing_can_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Config(hub=settings(tmp_path))
    assert await asyncio.to_thread(admin.main, plain, ["pair", "gate", "--typed"]) == 1
    assert "hub.tls" in capsys.readouterr().err


async def test_tokens_bans_and_rules(hub: HubServer, command: Command) -> None:
    known = lambda token: hub._registry.directory.by_token(token) is not None  # noqa: E731
    _, first, _ = await command("add-station", "gate")
    _, second, told = await command("rotate", "gate")
    assert "The former one ends" in told
    assert (known(first), known(second)) == (True, True)
    _, third, told = await command("rotate", "gate", "--now")
    assert "has ended" in told
    assert (known(first), known(second), known(third)) == (False, False, True)
    assert (await command("ban", "gate"))[0] == 0
    assert not known(third)
    assert "banned" in (await command("list"))[1]
    assert (await command("unban", "gate"))[0] == 0
    assert known(third)
    await command("invite", "tenant")
    assert (await command("allow", "tenant", "door", "gate"))[0] == 0
    assert (await command("forbid", "*", "call", "gate"))[0] == 0
    rules = (await command("rights"))[1].splitlines()[1:]
    assert sorted(line.split() for line in rules) == [
        ["*", "may", "not", "call", "gate"],
        ["tenant", "may", "door", "gate"],
    ]
    assert (await command("clear", "*", "call", "gate"))[0] == 0
    assert len((await command("rights"))[1].splitlines()) == 2
    assert (await command("allow", "tenant", "door", "cellar"))[0] == 1


@pytest.mark.platform("postgres")
async def test_the_same_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """Every statement of administration, once."""
    on_postgres = settings(tmp_path, database_url=postgres_url)
    async with HubServer(on_postgres, FakeJournal()) as hub, administrator(hub) as console:
        for name, role in (("gate", "station"), ("tenant", "resident")):
            await console.post("/api/admin/identities", {"id": name, "role": role, "name": f"The {name}"})
        await console.put("/api/admin/groups/family", {"members": ["tenant"], "mode": "sequence"})
        rule = {"subject": "family", "action": "door", "object": "gate", "allowed": True}
        assert (await console.put("/api/admin/rights", rule))["rights"] == [rule]
        await console.put("/api/admin/identities/tenant/policy", {"quietFromMin": 1, "quietToMin": 2})
        code = (await console.post("/api/admin/pairings", {"station": "gate"}))["code"]
        assert len((await console.get("/api/admin/pairings"))["pairings"]) == 1
        token = (await console.post("/api/pair", {"code": code}))["token"]
        assert (await console.ask("POST", "/api/pair", {"code": "12345678"}))[0] == 403
        await console.post("/api/admin/identities/gate/rotate")
        assert await estate.end_overlaps(hub._database, hub._clock.now_s() + estate.OVERLAP_S) == (1, None)
        await hub._directory_changed()
        assert hub._registry.directory.by_token(token) is None
        await console.post("/api/admin/identities/tenant/invitation")
        await console.ask("PATCH", "/api/admin/identities/tenant", {"banned": True})
        await estate.write_proven(hub._database, {hub._registry.directory.group("family").members[0]: 1.0})
        assert len((await console.get("/api/admin/reachability"))["board"]) == 2
        await console.put("/api/admin/password", {"current": PASSWORD, "password": "another password"})
        await console.post("/api/admin/administrators", {"name": "deputy"})
        await console.delete("/api/admin/administrators/deputy")
        for name in ("gate", "tenant", "family"):
            await console.delete(f"/api/admin/identities/{name}")
        assert await console.get("/api/admin/rights") == {"rights": []}
        assert (await console.delete("/api/admin/session"))["administrator"] is None
