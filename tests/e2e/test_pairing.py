"""A station is paired at the real hub: by the card's line, by digits that a person types, over TLS of the hub's own."""

import asyncio
import ssl
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from intercomd.__main__ import main as run_command
from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.config import load
from intercomd.core.protocol import Resync
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.fakes.signalling import SilentJournal
from intercomd.hub.api import pairing
from intercomd.hub.clock import HubClock
from intercomd.hub.server import HubServer
from intercomd.hub.web import authority
from intercomd.hub.web.authority import Files
from intercomd.ids import InstanceId
from intercomd.link.pairing import NotNow, Offer, Refused, Unfit, Unverified, pair, parse
from tests.contract.signalling_rig import QUICK, running
from tests.e2e.administrators import Console, administrator, made, order
from tests.e2e.hub_clients import settings
from tests.e2e.test_residents import Clock, clock

__all__ = ("clock",)


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
async def hub(tmp_path: Path, clock: Clock, journal: FakeJournal) -> AsyncIterator[HubServer]:
    """Plain HTTP on loopback."""
    async with HubServer(settings(tmp_path), journal, clock=clock.hub_clock()) as server:
        yield server


@asynccontextmanager
async def own_authority(folder: Path, journal: FakeJournal | None = None, **more: Any) -> AsyncIterator[HubServer]:
    local = settings(folder, tls="local", tls_dir=str(folder / "tls"), **more)
    async with HubServer(local, journal or FakeJournal()) as server:
        yield server


@pytest.fixture
async def secure(tmp_path: Path, journal: FakeJournal) -> AsyncIterator[HubServer]:
    """With an authority of its own."""
    async with own_authority(tmp_path, journal) as server:
        yield server


def address(hub: HubServer) -> str:
    return f"{'https' if hub._settings.uses_tls else 'http'}://127.0.0.1:{hub.port}"


def shown(hub: HubServer) -> str:
    return hub._stewardship.authority.fingerprint


async def redeem(hub: HubServer, code: str, **more: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http:
        answer = http.post(f"{address(hub)}/api/pair", json={"code": code, **more}, ssl=False)
        async with answer as response:
            return response.status, await response.json()


async def paired(hub: HubServer, code: str, fingerprint: str = "") -> Any:
    """As a station does it: in its own thread, with its own code."""
    return await asyncio.to_thread(pair, Offer(address(hub), code, fingerprint))


async def let_in(hub: HubServer, token: str) -> bool:
    return hub._registry.directory.by_token(token) is not None


# --------------------------------------------------------------------------------------------------- codes at the hub


async def test_a_code_gives_a_token_once(hub: HubServer, journal: FakeJournal) -> None:
    code = await made(hub, "pair", "gate")
    status, body = await redeem(hub, code)
    assert (status, body["station"]) == (200, "gate")
    assert await let_in(hub, body["token"])
    assert (await redeem(hub, code))[0] == 403
    assert journal.codes[-2:] == [ErrorCode.STATION_PAIRED, ErrorCode.PAIRING_REFUSED]
    assert not [secret for secret in (code, body["token"]) if secret in repr(journal.lines)]


async def test_pairing_a_station_anew_ends_its_former_tokens_when_the_code_is_used(hub: HubServer) -> None:
    former = await made(hub, "add-station", "gate")
    code = await made(hub, "pair", "gate")
    assert await let_in(hub, former)
    _, body = await redeem(hub, code)
    assert (await let_in(hub, former), await let_in(hub, body["token"])) == (False, True)


async def test_a_code_ends_by_time_by_another_one_and_by_revocation(hub: HubServer, clock: Clock) -> None:
    first = await made(hub, "pair", "gate")
    second = await made(hub, "pair", "gate")
    assert (await redeem(hub, first))[0] == 403
    await order(hub, "revoke", "gate")
    assert (await redeem(hub, second))[0] == 403
    third = await made(hub, "pair", "gate")
    clock.now_s += pairing.LIFE_S
    assert (await redeem(hub, third))[0] == 403


async def test_guessing_is_slowed_down(hub: HubServer) -> None:
    statuses = [(await redeem(hub, f"guess-{number}"))[0] for number in range(8)]
    assert statuses == [403] * pairing.TRIES + [429] * 3
    code = await made(hub, "pair", "gate")
    assert (await redeem(hub, code))[0] == 429


async def test_bodies_of_the_wrong_shape_are_told(hub: HubServer) -> None:
    async with aiohttp.ClientSession() as http:
        for body in (b"", b"{}", b'{"code": 1}', b'{"code": "x", "more": 1}', b"x" * 40_000):
            headers = {"Content-Type": "application/json"}
            async with http.post(f"{address(hub)}/api/pair", data=body, headers=headers) as response:
                assert response.status in (400, 413)
                assert (await response.json())["code"] == "bad_request"


async def test_digits_need_a_certificate_that_can_be_compared(hub: HubServer) -> None:
    async with administrator(hub) as console:
        status, body = await console.ask("POST", "/api/admin/pairings", {"station": "gate", "typed": True})
        assert (status, body["code"]) == (409, "no_fingerprint")


# ------------------------------------------------------------------------------------------ digits, with a fingerprint


async def digits(hub: HubServer, station: str = "gate") -> str:
    code = await made(hub, "pair", station, typed=True)
    assert len(code) == 8
    assert code.isdigit()
    return code


async def test_digits_count_only_with_the_fingerprint(secure: HubServer) -> None:
    code = await digits(secure)
    for wrong in ("", "00:11", shown(secure)[:-1]):
        status, body = await redeem(secure, code, fingerprint=wrong)
        assert (status, body["code"]) == (403, "wrong_fingerprint")
    status, body = await redeem(secure, code, fingerprint=shown(secure).lower().replace(":", ""))
    assert status == 200
    assert await let_in(secure, body["token"])


async def test_digits_survive_five_wrong_guesses_from_wherever(secure: HubServer) -> None:
    code, other = await digits(secure), await digits(secure, "cellar")
    wrong = next(number for number in ("00000000", "00000001", "00000002") if number not in (code, other))
    database, now_s = secure._database, secure._clock.now_s()
    for _ in range(pairing.TRIES - 1):
        assert await pairing.redeem(database, wrong, now_s) is None
    assert await pairing.redeem(database, code, now_s) is not None
    assert await pairing.redeem(database, wrong, now_s) is None
    assert await pairing.redeem(database, other, now_s) is None


async def test_digits_last_ten_minutes(secure: HubServer) -> None:
    code, now_s = await digits(secure), secure._clock.now_s()
    assert await pairing.redeem(secure._database, code, now_s + pairing.TYPED_LIFE_S + 1) is None


async def test_wrong_digits_do_not_touch_the_long_codes(secure: HubServer) -> None:
    code = await made(secure, "pair", "gate")
    for number in range(10):
        assert await pairing.redeem(secure._database, f"{number:08}", secure._clock.now_s()) is None
    assert await pairing.redeem(secure._database, code, secure._clock.now_s()) is not None


# ------------------------------------------------------------------------------------------------- the station's side


async def test_the_page_s_line_is_all_that_a_station_needs(secure: HubServer) -> None:
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True), connector=aiohttp.TCPConnector(ssl=False)
    ) as http:
        console = Console(secure, http)
        console.origin = address(secure)
        form = {"code": await made(secure, "set-up"), "name": "root", "password": "correct horse battery"}
        await console.post("/api/admin/password", form)
        answer = await console.post("/api/admin/pairings", {"station": "gate"})
        [waiting] = (await console.get("/api/admin/pairings"))["pairings"]
        assert (waiting["station"], waiting["typed"]) == ("gate", False)
    assert answer["fingerprint"] == shown(secure)
    assert answer["svg"].startswith("<svg")
    offer = parse(f"# for the gate\r\n{answer['payload']}\r\n")
    assert offer == Offer(address(secure), answer["code"], shown(secure))
    got = await asyncio.to_thread(pair, offer)
    assert (got.station, got.url) == ("gate", address(secure))
    assert await let_in(secure, got.token)


async def test_a_paired_station_connects_and_pins_the_authority(secure: HubServer, tmp_path: Path) -> None:
    got = await paired(secure, await made(secure, "pair", "gate"), shown(secure))
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(got.authority)
    signalling = SocketIoSignalling(
        got.url, lambda: got.token, InstanceId("i"), (), SilentJournal(), ca_file=ca_file, limits=QUICK
    )
    async with running(signalling):
        assert (await signalling.request(Resync())).ok


async def test_another_certificate_than_the_one_compared_gets_no_code(secure: HubServer, tmp_path: Path) -> None:
    """Somebody stands in between: the code stays good."""
    other = tmp_path / "other"
    other.mkdir()
    code = await digits(secure)
    async with own_authority(other) as impostor:
        with pytest.raises(Refused, match="another fingerprint"):
            await asyncio.to_thread(pair, Offer(address(impostor), code, shown(secure)))
    got = await paired(secure, code, shown(secure))
    assert await let_in(secure, got.token)


async def test_without_a_fingerprint_it_is_shown_to_be_compared(secure: HubServer) -> None:
    code = await digits(secure)
    with pytest.raises(Unverified) as unverified:
        await paired(secure, code)
    assert unverified.value.fingerprint == shown(secure)
    assert (await paired(secure, code, unverified.value.fingerprint)).station == "gate"


async def test_what_will_not_help_again_and_what_may(secure: HubServer) -> None:
    with pytest.raises(Refused, match="used, is wrong or too old"):
        await paired(secure, "no such code", shown(secure))
    with pytest.raises(NotNow):
        await asyncio.to_thread(pair, Offer("http://127.0.0.1:9", "code"))
    with pytest.raises(Unfit, match="https"):
        await asyncio.to_thread(pair, Offer("http://192.0.2.1", "code"))


@pytest.mark.parametrize(
    "text", ["", "token", "intercom-pairing https://hub code", "pairing https://hub code -", "a b c d\ne f g h"]
)
def test_another_line_is_no_pairing(text: str) -> None:
    with pytest.raises(Unfit, match="one line is needed"):
        parse(text)


async def test_the_command_keeps_what_it_got_for_its_owner_only(secure: HubServer, tmp_path: Path) -> None:
    line, into = tmp_path / "pairing", tmp_path / "credentials"
    line.write_text(pairing.payload(address(secure), await made(secure, "pair", "gate"), shown(secure)) + "\n")
    arguments = ["pair", "--file", str(line), "--into", str(into), "--config", str(tmp_path / "none.toml")]
    assert await asyncio.to_thread(run_command, arguments) == 0
    assert not line.exists()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in into.iterdir()}
    assert modes == dict.fromkeys(("intercomd.hub-token", "intercomd.hub-ca", "intercomd.hub-url"), 0o600)
    assert await let_in(secure, (into / "intercomd.hub-token").read_text().strip())
    assert ssl.PEM_cert_to_DER_cert((into / "intercomd.hub-ca").read_text())


async def test_what_a_station_kept_is_what_it_starts_with(secure: HubServer, tmp_path: Path) -> None:
    """Credentials, as systemd hands them over: no address, no token and no authority in the file."""
    into, handed = tmp_path / "store", tmp_path / "credentials"
    handed.mkdir()
    code = await made(secure, "pair", "gate")
    arguments = ["pair", address(secure), code, "--fingerprint", shown(secure), "--into", str(into)]
    assert await asyncio.to_thread(run_command, [*arguments, "--config", str(tmp_path / "none.toml")]) == 0
    for file in into.iterdir():
        (handed / file.name.removeprefix("intercomd.")).write_bytes(file.read_bytes())
    (tmp_path / "intercomd.toml").write_text('[station]\nname = "gate"\n')
    config = load(tmp_path / "intercomd.toml", "device", {"CREDENTIALS_DIRECTORY": str(handed)})
    assert config.station.hub_url == address(secure)


async def test_the_command_writes_where_the_configuration_says(secure: HubServer, tmp_path: Path) -> None:
    file = tmp_path / "intercomd.toml"
    token, ca = tmp_path / "token", tmp_path / "ca.pem"
    file.write_text(f'[station]\ntoken_file = "{token}"\nhub_ca_file = "{ca}"\nhub_url = "{address(secure)}"\n')
    code = await made(secure, "pair", "gate")
    arguments = ["pair", address(secure), code, "--fingerprint", shown(secure), "--config", str(file)]
    assert await asyncio.to_thread(run_command, arguments) == 0
    assert load(file, "device", {}).station.token_file == str(token)
    assert await let_in(secure, token.read_text().strip())


async def test_the_command_says_how_it_failed(secure: HubServer, tmp_path: Path) -> None:
    line = tmp_path / "pairing"
    arguments = ["pair", "--file", str(line), "--into", str(tmp_path), "--config", str(tmp_path / "none.toml")]
    for text, status in (
        ("nonsense", 78),
        (pairing.payload(address(secure), "used", shown(secure)), 1),
        (pairing.payload("http://127.0.0.1:9", "code", ""), 75),
    ):
        line.write_text(text)
        assert await asyncio.to_thread(run_command, arguments) == status
        assert line.exists(), "to be tried again, or mended"


# -------------------------------------------------------------------------------------------- the hub's own authority


async def test_keys_are_for_their_owner_only(secure: HubServer, tmp_path: Path) -> None:
    files = Files(tmp_path / "tls")
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in (files.key, files.authority_key)] == [0o600, 0o600]


async def test_the_authority_can_be_downloaded_and_verifies_the_hub(secure: HubServer) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{address(secure)}/ca.crt", ssl=False) as response:
            assert response.content_type == "application/x-x509-ca-cert"
            pem = await response.text()
        trusting = ssl.create_default_context(cadata=pem)
        async with http.get(f"{address(secure)}/healthz", ssl=trusting) as response:
            assert response.status == 200
    assert authority.same_fingerprint(authority.fingerprint(pem.encode()), shown(secure))


async def test_without_an_own_authority_there_is_nothing_to_download(hub: HubServer) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{address(hub)}/ca.crt") as response:
        assert (response.status, (await response.json())["code"]) == (404, "not_found")


async def test_a_restart_keeps_the_authority_and_the_certificate(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with own_authority(tmp_path) as hub:
            seen.append((shown(hub), Files(tmp_path / "tls").certificate.read_bytes()))
    assert seen[0] == seen[1]


async def test_a_certificate_is_renewed_while_the_hub_runs_and_stations_notice_nothing(tmp_path: Path) -> None:
    off_s = 0.0
    clock = HubClock(wall=lambda: time.time() + off_s, monotonic=lambda: time.monotonic() + off_s)
    local = settings(tmp_path, tls="local", tls_dir=str(tmp_path / "tls"))
    journal = FakeJournal()
    async with HubServer(local, journal, clock=clock) as hub:
        pem = (tmp_path / "tls" / "ca.crt").read_text()
        before = await served(hub, pem)
        hub._stewardship.tls.look()
        assert await served(hub, pem) == before
        off_s = (authority.CERTIFICATE_LIFE - authority.RENEW_BEFORE + timedelta(hours=1)).total_seconds()
        hub._stewardship.tls.look()
        assert journal.codes.count(ErrorCode.CERTIFICATE_MADE) == 2
        lately = ssl.create_default_context(cadata=pem)
        lately.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME: it begins in the future of this machine
        assert await served(hub, pem, lately) != before


async def served(hub: HubServer, pem: str, tls: ssl.SSLContext | None = None) -> bytes:
    """The certificate that the hub shows now, verified."""
    context = tls or ssl.create_default_context(cadata=pem)
    _, writer = await asyncio.open_connection("127.0.0.1", hub.port, ssl=context, server_hostname="127.0.0.1")
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_hub_at_another_address_makes_a_certificate_for_it(tmp_path: Path) -> None:
    async with own_authority(tmp_path) as hub:
        first = shown(hub)
    async with own_authority(tmp_path, public_url="https://door.example:8443") as hub:
        assert shown(hub) == first
        context = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port, ssl=context, server_hostname="door.example")
        writer.close()
        await writer.wait_closed()
