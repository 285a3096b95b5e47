"""The station's side of pairing: a code that works once is exchanged for the station's token, and the hub's certificate
is taken on as the only one to be trusted.

The certificate is fetched from somebody who is not trusted yet, so it counts only when its fingerprint is the one that
came with the code, or that a person has compared. The code is shown to nobody before that.
"""

import hashlib
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

from intercomd import RELEASED_S
from intercomd.link.hub_url import check_hub_url
from intercomd.link.trust import Known, Trust, trust

WORD: Final = "intercom-pairing"
TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024
TYPED_DIGITS: Final = 8


class Unfit(ValueError):
    """What was given is no pairing; the text says what is wrong."""


class Refused(Exception):
    """The hub, or its certificate, is not what it should be, or the code is not good: trying again will not help."""


class NotNow(Exception):
    """The hub cannot be reached, or is not able to at the moment."""


class Unverified(Exception):
    """Nobody has compared this fingerprint yet."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(fingerprint)
        self.fingerprint = fingerprint


@dataclass(frozen=True, slots=True)
class Offer:
    """What an installer was given. `fingerprint`: "" where a public authority is to be trusted."""

    url: str
    code: str
    fingerprint: str = ""

    @property
    def typed(self) -> bool:
        return len(self.code) == TYPED_DIGITS and self.code.isascii() and self.code.isdigit()


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a station keeps. `authority`: the certificate (PEM) to trust, "" for the system's list."""

    url: str
    station: str
    token: str
    authority: str


def parse(text: str) -> Offer:
    """The one line `intercom-pairing URL CODE FINGERPRINT`, `-` for none. Raises `Unfit`."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    words = lines[0].split() if len(lines) == 1 else []
    if len(words) != 4 or words[0] != WORD:
        raise Unfit(f"one line is needed, as the hub's page shows it: {WORD} URL CODE FINGERPRINT")
    _, url, code, fingerprint = words
    return Offer(url.rstrip("/"), code, "" if fingerprint == "-" else fingerprint)


def pair(offer: Offer, *, allow_insecure: bool = False) -> Pairing:
    """Raises `Unfit`, `Refused`, `NotNow`, and `Unverified` where a certificate is to be compared first."""
    try:
        check_hub_url(offer.url, allow_insecure=allow_insecure)
    except ValueError as error:
        raise Unfit(str(error)) from None
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ca.crt"
        authority = _authority(offer)
        file.write_text(authority)
        trusted = trust(file if authority else None, Known(RELEASED_S), time.time())
        answer = _post(offer, trusted)
    return Pairing(offer.url, answer["station"], answer["token"], authority)


def fingerprint_of(pem: str) -> str:
    """SHA-256 of the certificate as `openssl x509 -fingerprint -sha256` writes it."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def same_fingerprint(one: str, other: str) -> bool:
    """However they are written; nothing is like nothing."""
    return bool(_bare(one)) and _bare(one) == _bare(other)


def _bare(text: str) -> str:
    return text.lower().removeprefix("sha256:").replace(":", "").replace(" ", "")


def _authority(offer: Offer) -> str:
    """The certificate to trust; "" for the system's authorities."""
    if not offer.url.startswith("https:"):
        return ""
    if not offer.fingerprint and _is_publicly_trusted(offer.url):
        return ""
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    status, body = _ask(offer.url, Trust(nobody), "GET", "/ca.crt")
    if status != 200:
        raise Refused(
            f"{offer.url} has no certificate to download (HTTP {status}), and its own is not trusted here; "
            'set hub.tls = "local" at the hub, or give it a certificate of a public authority'
        )
    try:
        pem = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(body.decode("ascii").strip()))
        found = fingerprint_of(pem)
    except ValueError as error:
        raise Refused(f"{offer.url}/ca.crt is no certificate: {error}") from None
    if not offer.fingerprint:
        raise Unverified(found)
    if not same_fingerprint(offer.fingerprint, found):
        raise Refused(
            f"the hub's certificate has another fingerprint than it should: {found}. Either the code is of another "
            "hub, or somebody stands in between; the code was not shown to anybody"
        )
    return pem


def _is_publicly_trusted(url: str) -> bool:
    try:
        _ask(url, trust(None, Known(RELEASED_S), time.time()), "GET", "/healthz")
    except Refused:
        return False
    return True


def _post(offer: Offer, trusted: Trust) -> dict[str, str]:
    body = {"code": offer.code, "fingerprint": offer.fingerprint}
    status, text = _ask(offer.url, trusted, "POST", "/api/pair", body)
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    if status == 200 and _is_paired(answer):
        return {"station": answer["station"], "token": answer["token"]}
    said = answer.get("message") if isinstance(answer, dict) else None
    words = said if isinstance(said, str) and said.isprintable() else f"HTTP {status}"
    if status in (429, 502, 503, 504):
        raise NotNow(f"{offer.url}: {words[:200]}")
    raise Refused(f"{offer.url}: {words[:200]}")


def _is_paired(answer: Any) -> bool:
    return isinstance(answer, dict) and all(isinstance(answer.get(name), str) for name in ("station", "token"))


def _ask(url: str, trusted: Trust, method: str, path: str, body: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Raises `NotNow` when nobody answers, `Refused` when the certificate is not to be trusted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=trusted.tls)
        if secure
        else http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    )
    try:
        connection.connect()
        if isinstance(connection.sock, ssl.SSLSocket) and trusted.known is not None:
            trusted.check(connection.sock.getpeercert() or {})
        sent = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if sent else {}
        connection.request(method, parts.path.rstrip("/") + path, sent, headers)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES)
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"the certificate of {url} is not trusted: {error.verify_message}") from None
    except (OSError, http.client.HTTPException) as error:
        raise NotNow(f"{url} does not answer: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
