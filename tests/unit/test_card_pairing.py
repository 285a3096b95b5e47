"""The card's program that exchanges a code for a token, against a hub over TLS with an authority of its own."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hw.image.card import pair
from intercomd.hub.authority import Files, fingerprint, prepare
from intercomd.hub.pairing import payload

CODE, TOKEN = "c" * 43, "t" * 43


class Hub:
    """Its two routes, as `intercomd.hub.pairing` and `authority` have them."""

    def __init__(self, files: Files) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = [(200, {"station": "door", "token": TOKEN})]
        self.asked: list[dict[str, Any]] = []
        pem = files.authority.read_bytes()
        hub = self

        class Routes(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(200, pem) if self.path == "/ca.crt" else self._say(404, b"{}")

            def do_POST(self) -> None:
                hub.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, told = hub.answers.pop(0)
                self._say(status, json.dumps(told).encode())

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Routes)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


def _files(folder: Path, now: datetime) -> Files:
    files = Files(folder)
    prepare(files, ("127.0.0.1",), now)
    return files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return _files(tmp_path / "tls", datetime.now(UTC))


@pytest.fixture
def hub(files: Files) -> Iterator[Hub]:
    running = Hub(files)
    yield running
    running.close()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BOOT", "SECRETS", "CREDENTIALS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(pair, name, tmp_path / name)
    monkeypatch.setattr(pair, "AGAIN_S", 0.01)
    return tmp_path


def _invite(places: Path, hub: Hub, printed: str) -> None:
    (places / "SECRETS" / "pairing").write_text(payload(hub.url, CODE, printed) + "\n")


def _report(places: Path) -> str:
    place = places / "BOOT" / "pairing-error.txt"
    return place.read_text() if place.exists() else ""


def test_the_code_becomes_token_and_authority(places: Path, hub: Hub, files: Files) -> None:
    _invite(places, hub, fingerprint(files.authority.read_bytes()))
    assert pair.main() == 0
    assert hub.asked == [{"code": CODE}]
    assert (places / "SECRETS" / "hub-token").read_text().strip() == TOKEN
    assert (places / "CREDENTIALS" / "intercomd.hub-token").read_text().strip() == TOKEN
    assert (places / "CREDENTIALS" / "intercomd.hub-ca").read_bytes() == files.authority.read_bytes()
    assert not (places / "SECRETS" / "pairing").exists()
    assert all(file.stat().st_mode & 0o077 == 0 for file in (places / "SECRETS").iterdir())
    assert _report(places) == ""


def test_another_hub_in_between_gets_no_code(places: Path, hub: Hub, tmp_path: Path) -> None:
    real = _files(tmp_path / "real", datetime.now(UTC))
    _invite(places, hub, fingerprint(real.authority.read_bytes()))
    pair.main()
    assert not hub.asked
    assert "another hub" in _report(places)
    assert not (places / "SECRETS" / "hub-token").exists()


def test_a_borrowed_authority_without_its_key_gets_no_code(places: Path, tmp_path: Path) -> None:
    """Whoever stands in between may show the real hub's certificate, which is no secret."""
    real, false = (_files(tmp_path / name, datetime.now(UTC)) for name in ("real", "false"))
    false.authority.write_bytes(real.authority.read_bytes())
    hub = Hub(false)
    try:
        invitation = pair.Invitation.of(payload(hub.url, CODE, fingerprint(real.authority.read_bytes())))
        with pytest.raises(pair.Unanswered, match="certificate"):
            pair.pair(invitation)
        assert not hub.asked
    finally:
        hub.close()


def test_a_pi_without_a_clock_is_paired(places: Path, tmp_path: Path) -> None:
    """Its clock is years off: here the certificate begins in a year."""
    files = _files(tmp_path / "later", datetime.now(UTC) + timedelta(days=365))
    hub = Hub(files)
    try:
        _invite(places, hub, fingerprint(files.authority.read_bytes()))
        pair.main()
        assert (places / "SECRETS" / "hub-token").exists()
    finally:
        hub.close()


def test_a_hub_that_is_busy_is_asked_again(places: Path, hub: Hub, files: Files) -> None:
    hub.answers.insert(0, (503, {"code": "try_again", "message": "the database does not answer"}))
    _invite(places, hub, fingerprint(files.authority.read_bytes()))
    pair.main()
    assert len(hub.asked) == 2
    assert _report(places) == "", "it is paired: the report of the first attempt is gone"


def test_a_code_that_was_used_is_told_and_not_tried_for_ever(places: Path, hub: Hub, files: Files) -> None:
    hub.answers = [(403, {"code": "unauthorised", "message": "this code was used"})]
    _invite(places, hub, fingerprint(files.authority.read_bytes()))
    assert pair.main() == 0
    assert "this code was used" in _report(places)
    assert not (places / "SECRETS" / "pairing").exists()


def test_no_hub_is_told_and_the_code_is_kept(places: Path) -> None:
    (places / "SECRETS" / "pairing").write_text(payload("https://127.0.0.1:1", CODE, "-") + "\n")
    invitation = pair.Invitation.of((places / "SECRETS" / "pairing").read_text())
    assert not pair.attempt(invitation)
    assert "not reached" in _report(places)
    assert (places / "SECRETS" / "pairing").exists()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("intercom-pairing https://hub.local", "four words"),
        (f"intercom-pairing hub.local {CODE} -", "address"),
        (f"intercom-pairing https://hub.local {CODE} 12:34", "64 hexadecimal digits"),
    ],
)
def test_half_a_line_is_told(line: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        pair.Invitation.of(line)
