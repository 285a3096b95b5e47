"""The card's program that has a hub's line exchanged for a token: what it does with all that may come of it."""

import sys
from pathlib import Path

import pytest

from hw.image.card import pair

STAND_IN = """
import sys
from pathlib import Path
file, folder = Path(sys.argv[2]), Path(sys.argv[4])
assert sys.argv[1::2] == ["--file", "--into"]
outcomes = folder / "outcomes"
status, _, rest = outcomes.read_text().partition(" ")
outcomes.write_text(rest)
if status == "0":
    for name in ("token", "ca", "url"):
        (folder / f"intercomd.hub-{name}").write_text(name)
    file.unlink()
else:
    print("intercomd pair: the words of", status, file=sys.stderr)
sys.exit(int(status))
"""
"""Of `intercomd pair`, whose own tests are with it."""


class Places:
    def __init__(self, root: Path, told: list[str]) -> None:
        self.secrets, self.credentials, self.boot = root / "SECRETS", root / "CREDENTIALS", root / "BOOT"
        self.told = told

    def run(self, outcomes: str) -> None:
        (self.secrets / "pairing").write_text("intercom-pairing ...\n")
        (self.secrets / "outcomes").write_text(outcomes)
        assert pair.main() == 0

    @property
    def report(self) -> str:
        place = self.boot / "pairing-error.txt"
        return place.read_text() if place.exists() else ""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    told: list[str] = []
    for name in ("BOOT", "SECRETS", "CREDENTIALS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(pair, name, tmp_path / name)
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(pair, "PROGRAM", (sys.executable, "-I", str(tmp_path / "stand_in.py")))
    monkeypatch.setattr(pair, "AGAIN_S", 0.0)
    monkeypatch.setattr(pair, "tell_systemd", told.append)
    return Places(tmp_path, told)


def test_what_pairing_has_left_is_a_credential_of_this_boot(places: Places) -> None:
    places.run("0")
    for name in ("token", "ca", "url"):
        credential = places.credentials / f"intercomd.hub-{name}"
        assert credential.read_text() == name
        assert credential.stat().st_mode & 0o077 == 0
    assert places.told == ["READY=1"]
    assert places.report == ""


def test_a_hub_that_does_not_answer_is_asked_again(places: Places) -> None:
    places.run("75 75 0")
    assert (places.credentials / "intercomd.hub-token").exists()
    assert places.report == "", "it is paired: the first attempts' report is gone"


def test_the_station_does_not_wait_for_ever(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[object] = []
    monkeypatch.setattr(pair, "FIRST_LIMIT_S", -1.0)
    real = pair.subprocess.run

    def seen(command: list[str], **how: object) -> object:
        return run.append(command) if command[0] == "systemctl" else real(command, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(pair.subprocess, "run", seen)
    places.run("75 75 0")
    assert places.told == ["READY=1"], "once"
    assert run == [["systemctl", "--no-block", "restart", "intercomd.service"]]


def test_a_code_that_is_not_good_is_told_and_forgotten(places: Places) -> None:
    places.run("1")
    assert "the words of 1. Make a new code" in places.report
    assert not (places.secrets / "pairing").exists()
    assert not list(places.credentials.iterdir())
    assert places.told == ["READY=1"]
