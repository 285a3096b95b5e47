"""While pairing.txt holds a hub's invitation (`intercom-pairing URL CODE FINGERPRINT`): exchanges its code for the
station's token.

Only the standard library. The hub is trusted by what the card says: its certificate authority is fetched from an
unproven hub, and is worth something only if its SHA-256 is the card's fingerprint. Then the code is sent to whom that
authority vouches for, and to nobody else. It is tried until the hub answers; the station waits for the first attempts,
for it can do nothing without a token.
"""

import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

BOOT = Path("/boot/firmware")
SECRETS = Path("/var/lib/intercom-state/secrets")
CREDENTIALS = Path("/run/credstore")
INVITATION = "pairing"
"""In SECRETS: the line, as card.py took it from the partition that every computer reads."""
WORD = "intercom-pairing"
REPORT = "pairing-error.txt"
ANSWER_LIMIT_S = 10.0
FIRST_LIMIT_S = 45.0
"""So long the station waits; a Pi has its network within 20 s."""
AGAIN_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: a Pi that was never on has no clock, and the authority is known by its hash."""
TOKEN, AUTHORITY = "intercomd.hub-token", "intercomd.hub-ca"


class Refused(Exception):
    """The hub will never take this code, or is not the hub of this card."""


class Unanswered(Exception):
    """It may work later."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the card holds. `fingerprint`: of the hub's authority, 64 hexadecimal digits; "" for a public one."""

    scheme: str
    host: str
    port: int
    code: str
    fingerprint: str

    @classmethod
    def of(cls, line: str) -> "Invitation":
        """Raises `ValueError` with what is wrong."""
        words = line.split()
        if len(words) != 4 or words[0] != WORD:
            raise ValueError(f"not four words `{WORD} URL CODE FINGERPRINT`, as the hub shows them")
        url = urlsplit(words[1])
        if url.scheme not in ("https", "http") or not url.hostname:
            raise ValueError(f"{words[1]} is no address of a hub: https://...")
        fingerprint = "" if words[3] == "-" else words[3].lower().removeprefix("sha256:").replace(":", "")
        if fingerprint and (len(fingerprint) != 64 or not set(fingerprint) <= set("0123456789abcdef")):
            raise ValueError("the fingerprint is not 64 hexadecimal digits: copy the whole line")
        return cls(url.scheme, url.hostname, url.port or {"https": 443, "http": 80}[url.scheme], words[2], fingerprint)


def pair(invitation: Invitation) -> tuple[str, str]:
    """The token, and the authority (PEM; "" for a public one). Raises `Refused` and `Unanswered`."""
    authority = fetched_authority(invitation) if invitation.fingerprint and invitation.scheme == "https" else ""
    trust = ssl.create_default_context(cadata=authority or None)
    if authority:
        trust.verify_flags |= NO_CHECK_TIME
    status, told = _ask(invitation, trust, "POST", "/api/pair", {"code": invitation.code})
    answer = _object(told)
    if status == 200 and isinstance(answer.get("token"), str):
        return str(answer["token"]), authority
    words = str(answer.get("message") or f"HTTP status {status}")
    if status in (400, 403, 404):
        raise Refused(words)
    raise Unanswered(words)


def fetched_authority(invitation: Invitation) -> str:
    """PEM. From whoever answers there: the fingerprint says whether it is the hub's."""
    nobody = ssl.create_default_context()
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    status, told = _ask(invitation, nobody, "GET", "/ca.crt", None)
    if status != 200:
        raise Unanswered(f"the hub does not show its certificate: HTTP status {status}")
    try:
        pem = told.decode("ascii")
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
    except ValueError as error:
        raise Unanswered(f"what the hub shows is no certificate: {error}") from error
    if found != invitation.fingerprint:
        raise Refused(f"this is another hub: its certificate's fingerprint is {found}, the card's another one")
    return pem


def _ask(
    invitation: Invitation, trust: ssl.SSLContext, method: str, path: str, said: object | None
) -> tuple[int, bytes]:
    connection: http.client.HTTPConnection
    if invitation.scheme == "https":
        connection = http.client.HTTPSConnection(
            invitation.host, invitation.port, timeout=ANSWER_LIMIT_S, context=trust
        )
    else:
        connection = http.client.HTTPConnection(invitation.host, invitation.port, timeout=ANSWER_LIMIT_S)
    body = None if said is None else json.dumps(said)
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(f"{invitation.host}:{invitation.port}: {error}") from error
    finally:
        connection.close()


def _object(told: bytes) -> dict[str, object]:
    try:
        found = json.loads(told)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def keep(token: str, authority: str) -> None:
    """On the state partition for the next boots, and where systemd finds credentials for this one."""
    kept = {"hub-token": (TOKEN, token + "\n"), "hub-ca": (AUTHORITY, authority)}
    CREDENTIALS.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, (credential, text) in kept.items():
        for place in (SECRETS / name, CREDENTIALS / credential):
            if text:
                _replace(place, text)
            else:
                place.unlink(missing_ok=True)
    (SECRETS / INVITATION).unlink()
    os.sync()


def _replace(path: Path, text: str) -> None:
    """Old or new, never half; for its owner only."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def report(words: str) -> None:
    """Beside pairing.txt, where a laptop finds it, and in the journal; no words: nothing is wrong any more."""
    place = BOOT / REPORT
    with suppress(OSError):
        if words:
            place.write_text(f"pairing.txt: {words}\r\n", newline="")
        else:
            place.unlink(missing_ok=True)
    if words:
        print(f"<4>{words}", file=sys.stderr)  # priority warning (sd-daemon(3))


def attempt(invitation: Invitation) -> bool:
    """Whether there is nothing more to do: paired, or refused for good."""
    try:
        token, authority = pair(invitation)
    except Unanswered as error:
        report(f"the hub was not reached, it is tried again and again: {error}")
        return False
    except Refused as error:
        (SECRETS / INVITATION).unlink()
        report(f"{error}. Make a new code at the hub and write it into pairing.txt.")
        return True
    keep(token, authority)
    report("")
    print("<5>paired with the hub", file=sys.stderr)
    return True


def main() -> int:
    try:
        invitation = Invitation.of((SECRETS / INVITATION).read_text())
    except (OSError, ValueError) as error:
        report(str(error))
        tell_systemd("READY=1")
        return 0
    began_s, waited = time.monotonic(), True
    while not attempt(invitation):
        if waited and time.monotonic() - began_s > FIRST_LIMIT_S:
            waited = False
            tell_systemd("READY=1")
        time.sleep(AGAIN_S)
    if waited:
        tell_systemd("READY=1")
    else:
        subprocess.run(["systemctl", "--no-block", "restart", "intercomd.service"], check=False, timeout=20)
    return 0


def tell_systemd(words: str) -> None:
    """sd_notify(3)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.sendto(words.encode(), "\0" + address[1:] if address.startswith("@") else address)


if __name__ == "__main__":
    sys.exit(main())
