"""`intercomctl commission` against a real socket: what it asks of station and installer, and what it certifies."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intercomd.ctl import commission
from intercomd.ctl import main as ctl
from intercomd.texts import text
from tests.unit.test_ctl import Answer, Daemon

WELL: dict[str, Any] = {
    "name": "door",
    "version": "0.1.0",
    "link": {"state": "registered", "age_s": 2.1},
    "audio": {"card": "ready", "card_reason": ""},
    "panel": {
        "leds": {"ready": True, "talking": False, "microphone": False},
        "buttons": {"call": False, "hangup": False},
        "outputs": {"door": False},
    },
    "store": {"state": "ok"},
    "proof": {"active": True, "sound": {"state": "heard", "quiet_dbfs": -57.0, "sound_dbfs": -24.0}},
}


def _line(*replies: object) -> bytes:
    return b"".join(json.dumps(reply).encode() + b"\n" for reply in replies)


class Station:
    """What it answers; `pressed`: which button is pressed when each is asked for."""

    def __init__(self, status: dict[str, Any] = WELL, pressed: tuple[str, ...] = ("call", "hangup")) -> None:
        self._status = status
        self._pressed = list(pressed)
        self.orders: list[dict[str, Any]] = []

    def answer(self, request: dict[str, Any]) -> bytes:
        match request["command"]:
            case "status":
                return _line({"ok": True, "status": self._status})
            case "edges":
                button = self._pressed.pop(0)
                edges = [{"t_ns": 1, "line": button, "value": value} for value in (True, False)]
                return _line({"ok": True}, {"t_ns": 0, "line": "ready", "value": True}, *edges if button else [])
            case _:
                self.orders.append(request)
                return _line({"ok": True})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def daemon(path: Path) -> Iterator[Callable[[Answer], Daemon]]:
    started: list[Daemon] = []

    def start(answer: Answer) -> Daemon:
        started.append(Daemon(path, answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def run(path: Path, daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs it with these answers of the installer; exit status, checks by their names, and what was asked."""

    def call(station: Station, *answers: str, arguments: tuple[str, ...] = ()) -> tuple[int, dict[str, Any], str]:
        daemon(station.answer)
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{answer}\n" for answer in answers)))
        status = ctl.main(["--socket", str(path), "--lang", "en", "--json", "commission", *arguments])
        captured = capsys.readouterr()
        found = json.loads(captured.out)
        assert found["ok"] is (status == ctl.DONE)
        return status, {check["name"]: check for check in found["checks"]}, captured.err

    return call


def test_a_station_that_is_well_gets_its_certificate(run) -> None:
    station = Station()
    status, checks, _ = run(station, *["y"] * 7)
    assert status == ctl.DONE
    assert list(checks) == [
        "hub", "memory", "sound card", "LED Ready", "LED Talking", "button Call / answer", "button Hang up",
        "loudspeaker to microphone", "melody", "LED Microphone", "Door opener",
    ]  # fmt: skip
    leds = [order["led"] for order in station.orders if "led" in order]
    assert leds == ["ready", "talking"]
    assert station.orders[-1] == {"command": "prove", "end": True}
    assert {"command": "door"} in station.orders


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"link": {"state": "down", "age_s": None}}, "hub"),
        ({"link": {"state": "registered", "age_s": 40.0}}, "hub"),
        ({"store": {"state": "failing"}}, "memory"),
        ({"audio": {"card": "missing", "card_reason": "no such device"}}, "sound card"),
        ({"proof": {"sound": {"state": "failed"}}}, "loudspeaker to microphone"),
        (
            {"proof": {"sound": {"state": "heard", "quiet_dbfs": -40.0, "sound_dbfs": -36.0}}},
            "loudspeaker to microphone",
        ),
    ],
)
def test_what_is_not_well_is_named(run, change: dict[str, Any], failed: str) -> None:
    status, checks, _ = run(Station(WELL | change), *["y"] * 7)
    assert status == ctl.FAILED
    assert [name for name, check in checks.items() if not check["ok"]] == [failed]


def test_two_buttons_with_their_wires_swapped_are_found(run) -> None:
    _, checks, _ = run(Station(pressed=("hangup", "call")), *["y"] * 7)
    assert "Hang up” was felt instead" in checks["button Call / answer"]["value"]
    assert not checks["button Hang up"]["ok"]


def test_a_button_that_nobody_feels_is_waited_for_and_told(run, monkeypatch) -> None:
    monkeypatch.setattr(commission, "PRESS_LIMIT_S", 0.05)
    monkeypatch.setattr(commission, "EDGE_LIMIT_S", 0.2)
    _, checks, _ = run(Station(pressed=("", "hangup")), *["y"] * 7)
    assert "not felt" in checks["button Call / answer"]["value"]


def test_the_door_is_not_opened_unless_the_installer_says_so(run) -> None:
    station = Station()
    _, checks, _ = run(station, *["y"] * 5, "n")
    assert not checks["Door opener"]["ok"]
    assert {"command": "door"} not in station.orders


def test_nobody_there_to_answer_proves_nothing(run) -> None:
    status, checks, _ = run(Station())
    assert status == ctl.FAILED
    assert not checks["LED Ready"]["ok"]
    assert not checks["Door opener"]["ok"]


def test_the_certificate_is_kept_where_the_installer_wants_it(run, tmp_path: Path) -> None:
    file = tmp_path / "certificate.txt"
    run(Station(), *["y"] * 7, arguments=(str(file),))
    kept = file.read_text(encoding="utf-8")
    assert "station door" in kept
    assert text("ctl.proof.total", "en").format(passed=11, of=11) in kept
    assert "hub: registered" in kept


def test_a_place_that_cannot_be_written_is_told(run, path: Path, daemon, capsys, monkeypatch) -> None:
    daemon(Station().answer)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 7))
    status = ctl.main(["--socket", str(path), "--lang", "zh", "commission", "/proc/none/certificate.txt"])
    captured = capsys.readouterr()
    assert status == ctl.FAILED
    assert "/proc/none/certificate.txt" in captured.err
    assert "通过" in captured.out, "printed all the same"


def test_without_a_daemon_there_is_no_certificate(path: Path, capsys) -> None:
    assert ctl.main(["--socket", str(path), "--lang", "en", "commission"]) == ctl.UNREACHABLE
    assert "cannot be reached" in capsys.readouterr().err
