"""A certificate authority of the hub's own: made at the first start, pinned by stations when they are paired, installed
on phones by who wants to. It signs one certificate, the hub's, which is renewed long before it ends, and when the
machine's names or addresses have changed.

A station pins the authority, not the certificate: renewing needs nobody. Keys are for their owner only."""

import fcntl
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from intercomd.config import Hub
from intercomd.hub.web.routes import Route

AUTHORITY_LIFE: Final = timedelta(days=20 * 365)
CERTIFICATE_LIFE: Final = timedelta(days=365)
"""Phones take no certificate of an installed authority that lives longer than 825 days."""
RENEW_BEFORE: Final = timedelta(days=60)
SLACK: Final = timedelta(days=1)
"""Begun this much before: clocks differ."""
DOWNLOAD: Final = "/ca.crt"


class AuthorityError(Exception):
    """The hub's certificate cannot be made or read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where all of it is kept: `folder` is for its owner only."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def authority_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def certificate(self) -> Path:
        """With the authority's behind it: TLS servers send both."""
        return self.folder / "hub.crt"

    @property
    def key(self) -> Path:
        return self.folder / "hub.key"


def names_of(settings: Hub) -> tuple[str, ...]:
    """By which names and addresses people may reach this hub: its public URL's, the machine's, loopback's."""
    host = socket.gethostname()
    names = [urlsplit(settings.public_url).hostname or "", host, f"{host.partition('.')[0]}.local", "localhost"]
    if settings.listen not in ("0.0.0.0", "::"):  # noqa: S104
        names.append(settings.listen)
    names += ["127.0.0.1", "::1", *_own_addresses()]
    return tuple(dict.fromkeys(name for name in names if name))


def prepare(files: Files, names: Sequence[str], now: datetime) -> bool:
    """Have an authority, and a certificate of it for these names that is good for a while; whether one was made. Raises
    `AuthorityError`."""
    try:
        files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(files.folder):
            made = _make_authority(files, now) if not files.authority.exists() else False
            if made or not _is_good(files, names, now):
                _make_certificate(files, names, now)
                return True
    except (OSError, ValueError, TypeError) as error:
        raise AuthorityError(
            f"{files.folder}: {error}; the hub's user must own it. Without its files a new authority is made, and "
            "stations must be paired again"
        ) from error
    return False


def anchor(certificate_file: Path) -> bytes | None:
    """The certificate (PEM) that stations pin to trust this chain: a self-signed one at its end. None where there is
    none: then a public authority has signed it. Raises `AuthorityError`."""
    try:
        chain = x509.load_pem_x509_certificates(certificate_file.read_bytes())
    except (OSError, ValueError) as error:
        raise AuthorityError(f"{certificate_file}: {error}") from error
    last = chain[-1]
    return last.public_bytes(serialization.Encoding.PEM) if last.issuer == last.subject else None


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the certificate as `openssl x509 -fingerprint -sha256` writes it."""
    digest = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def same_fingerprint(one: str, other: str) -> bool:
    """However they are written; nothing is like nothing."""
    return bool(_bare(one)) and _bare(one) == _bare(other)


class Authority:
    """What stations and phones are to trust this hub by, as a file to download; none where a public authority has
    signed its certificate."""

    def __init__(self) -> None:
        self._pem: bytes | None = None
        self.fingerprint = ""

    def take(self, certificate_file: Path) -> None:
        """What the hub serves. Raises `AuthorityError`."""
        self._pem = anchor(certificate_file)
        self.fingerprint = fingerprint(self._pem) if self._pem else ""

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                DOWNLOAD,
                self._download,
                "The certificate by which this hub is to be trusted, for stations and phones; 404: a public one.",
                produces="application/x-x509-ca-cert",
                refusals=(404,),
            ),
        )

    async def _download(self, _request: web.Request) -> web.Response:
        if self._pem is None:
            text = "this hub's certificate, if it has one, is signed by a public authority"
            return web.json_response({"code": "not_found", "message": text}, status=404)
        headers = {"Content-Disposition": 'attachment; filename="intercom-ca.crt"'}
        return web.Response(body=self._pem, content_type="application/x-x509-ca-cert", headers=headers)


def _bare(text: str) -> str:
    return text.lower().removeprefix("sha256:").replace(":", "").replace(" ", "")


def _own_addresses() -> Iterator[str]:
    """Of the interfaces by which this machine reaches others; nothing is sent."""
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            yield probe.getsockname()[0]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Several processes of a hub start at once, and have one authority."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_authority(files: Files, now: datetime) -> bool:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"intercom {socket.gethostname()}"[:64])])
    certificate = (
        _builder(name, name, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _keep_key(files.authority_key, key)
    _keep(files.authority, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return True


def _make_certificate(files: Files, names: Sequence[str], now: datetime) -> None:
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    signer = serialization.load_pem_private_key(files.authority_key.read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{files.authority_key} is no key of this program's")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _builder(subject, authority.subject, key, now, CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )
    _keep_key(files.key, key)
    _keep(files.certificate, certificate.public_bytes(serialization.Encoding.PEM) + files.authority.read_bytes(), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + life)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


def _is_good(files: Files, names: Iterable[str], now: datetime) -> bool:
    """Whether the certificate is of this authority, of this key, for these names, and lasts."""
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
        certificate.verify_directly_issued_by(authority)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key)
        wanted = {_general(name) for name in names}
        theirs = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return wanted <= set(theirs) and begins <= now < ends - RENEW_BEFORE


def _keep_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    form = serialization.PrivateFormat.PKCS8
    _keep(file, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()), 0o600)


def _keep(file: Path, content: bytes, mode: int) -> None:
    """Old or new, never half."""
    fresh = file.with_name(file.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as out:
        os.fchmod(descriptor, mode)
        out.write(content)
        out.flush()
        os.fsync(descriptor)
    fresh.replace(file)


def as_datetime(now_s: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC)
