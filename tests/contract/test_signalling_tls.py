"""The link over TLS: pinned authorities, certificates and clocks."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.core.protocol import Resync
from intercomd.errors import ErrorCode
from intercomd.fakes.signalling import SilentJournal
from intercomd.ids import InstanceId
from intercomd.link.trust import NOTHING_KNOWN, Known
from tests.contract.loopback_hub import LoopbackHub
from tests.contract.signalling_rig import QUICK, hub, running, until

__all__ = ("hub",)


A_DAY = timedelta(days=1)


def make_certificate(directory: Path, begins: timedelta = -A_DAY, ends: timedelta = A_DAY) -> tuple[Path, Path]:
    """A certificate of its own authority for 127.0.0.1, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "hub.pem", directory / "hub.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@asynccontextmanager
async def hub_with_tls(
    directory: Path, begins: timedelta = -A_DAY, ends: timedelta = A_DAY
) -> AsyncIterator[tuple[LoopbackHub, Path]]:
    certificate, key = make_certificate(directory, begins, ends)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    hub = await LoopbackHub(tls=tls).start()
    try:
        yield hub, certificate
    finally:
        await hub.stop()


def over_tls(
    hub: LoopbackHub, ca_file: Path | None, off: timedelta | None = None, *, exact: bool = False
) -> SocketIoSignalling:
    """`off`: how far what is known of the time is after the machine's clock."""
    known = Known(time.time() + off.total_seconds(), exact) if off is not None else NOTHING_KNOWN
    return SocketIoSignalling(
        f"https://127.0.0.1:{hub.port}", lambda: "token", InstanceId("i"), (), SilentJournal(),
        ca_file=ca_file, limits=QUICK, known_time=lambda: known,
    )  # fmt: skip


async def test_a_pinned_authority_is_trusted(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path) as (hub, certificate):
        signalling = over_tls(hub, certificate)
        async with running(signalling):
            await signalling.request(Resync())


async def test_an_unknown_authority_is_not_trusted_and_is_named(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path) as (hub, _):
        signalling = over_tls(hub, None)
        async with running(signalling, wait=False):
            await until(lambda: signalling.status.failed_attempts >= 1)
            assert signalling.status.reason.startswith("the hub's certificate is not trusted: ")
        assert hub.attempts == 0, "the token was not shown"


async def test_an_authority_file_that_comes_later_is_used_without_a_restart(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path) as (hub, certificate):
        late = tmp_path / "ca.pem"
        signalling = over_tls(hub, late)
        async with running(signalling, wait=False) as station:
            await until(lambda: signalling.status.failed_attempts >= 1)
            assert signalling.status.reason == f"{late}: No such file or directory"
            certificate.rename(late)
            await until(lambda: station.links == [True])


async def refused_for(signalling: SocketIoSignalling) -> tuple[str, ErrorCode | None, list[ErrorCode]]:
    journal = signalling._journal
    assert isinstance(journal, SilentJournal)
    async with running(signalling, wait=False):
        await until(lambda: signalling.status.failed_attempts >= 3)
        status = signalling.status
        return status.reason, status.cause, [code for code, _ in journal.lines if code is ErrorCode.CLOCK_WRONG]


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        (A_DAY, 2 * A_DAY, "not valid yet by this station's clock, which says "),
        (-2 * A_DAY, -A_DAY, "or this station's"),
    ],
)
async def test_a_certificate_of_another_time_names_the_clock_once(
    tmp_path: Path, begins: timedelta, ends: timedelta, words: str
) -> None:
    async with hub_with_tls(tmp_path, begins, ends) as (hub, certificate):
        reason, cause, told = await refused_for(over_tls(hub, certificate))
        assert words in reason
        assert cause is ErrorCode.CLOCK_WRONG
        assert told == [ErrorCode.CLOCK_WRONG], "attempts go on, the line is not repeated"
        assert hub.attempts == 0


async def test_a_clock_that_is_behind_for_certain_does_not_keep_a_pinned_hub_out(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path, A_DAY, 9 * A_DAY) as (hub, certificate):
        signalling = over_tls(hub, certificate, off=3 * A_DAY)
        async with running(signalling):
            await signalling.request(Resync())


async def test_a_certificate_that_ended_before_what_is_known_to_have_been_is_refused(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path, -A_DAY, A_DAY) as (hub, certificate):
        reason, _, _ = await refused_for(over_tls(hub, certificate, off=3 * A_DAY))
        assert "has ended on" in reason
        assert hub.attempts == 0, "the token was not shown"


@pytest.mark.parametrize("off", [timedelta(days=365), timedelta(days=-365)])
async def test_a_clock_that_jumped_by_a_year_does_not_keep_the_link_down(tmp_path: Path, off: timedelta) -> None:
    """The hub itself has told the time before it was lost."""
    async with hub_with_tls(tmp_path, off - A_DAY, off + A_DAY) as (hub, certificate):
        signalling = over_tls(hub, certificate, off, exact=True)
        async with running(signalling):
            await signalling.request(Resync())


async def test_a_certificate_that_has_not_begun_by_the_hubs_own_time_is_refused(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path, 9 * A_DAY, 20 * A_DAY) as (hub, certificate):
        reason, _, _ = await refused_for(over_tls(hub, certificate, 3 * A_DAY, exact=True))
        assert "begins on" in reason
        assert hub.attempts == 0


async def test_a_clock_that_is_behind_does_not_let_a_strangers_certificate_in(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger, _ = make_certificate(tmp_path / "other")
    async with hub_with_tls(tmp_path) as (hub, _):
        reason, cause, _ = await refused_for(over_tls(hub, stranger, off=3 * A_DAY))
        assert reason.startswith("the hub's certificate is not trusted: ")
        assert cause is None
        assert hub.attempts == 0
