"""The command `intercomd`: what it understands, what it answers, what it loads."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from intercomd import __version__
from intercomd.__main__ import main
from intercomd.adapters.gpio import GpioPins
from intercomd.config import Config, ConfigError, Mistake

HEAVY = ("msgspec", "aiohttp", "socketio", "aiortc", "numpy", "sqlalchemy", "alsaaudio", "gpiozero")


@pytest.fixture
def hub_file(tmp_path: Path) -> Path:
    file = tmp_path / "intercomd.toml"
    file.write_text("[hub]\nport = 9000\n")
    return file


@pytest.fixture
def station_file(tmp_path: Path) -> Path:
    token, file = tmp_path / "token", tmp_path / "intercomd.toml"
    token.write_text("secret")
    token.chmod(0o600)
    file.write_text(f'[station]\ntoken_file = "{token}"\n')
    return file


class Parts:
    """Stands in for the parts that `intercomd` hands over to, and notes what each was given."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.given: list[tuple[object, ...]] = []
        self.raises: Exception | None = None
        for name in ("device.run", "device.replay", "hub.run", "hub.admin", "demo.run"):
            module = ModuleType(f"intercomd.{name}")
            module.main = self._main(name)  # type: ignore[attr-defined]
            patch.setitem(sys.modules, f"intercomd.{name}", module)

    def _main(self, name: str):
        def run(*given: object) -> int:
            self.given.append((name, *given))
            if self.raises:
                raise self.raises
            return 17

        return run


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    return Parts(monkeypatch)


def _usage_error(*argv: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2


def test_device_gets_its_configuration_and_its_lines_with_the_door_shut(parts: Parts, station_file: Path) -> None:
    with station_file.open("a") as file:
        file.write('[panel]\npin_factory = "mock"\noutputs = { door = 12 }\n')
    assert main(["device", "--config", str(station_file)]) == 17
    ((name, config, pins),) = parts.given
    assert name == "device.run"
    assert isinstance(config, Config)
    assert isinstance(pins, GpioPins)
    assert pins.levels() == {"door": False}
    pins.close()


def test_hub_runs_without_a_word_and_administers_with_one(parts: Parts, hub_file: Path) -> None:
    assert main(["hub", "--config", str(hub_file)]) == 17
    assert main(["hub", "--config", str(hub_file), "add-station", "door", "--group", "all"]) == 17
    assert main(["hub", "list", "--config", str(hub_file)]) == 17
    assert [(name, *rest[1:]) for name, *rest in parts.given] == [
        ("hub.run",),
        ("hub.admin", ["add-station", "door", "--group", "all"]),
        ("hub.admin", ["list"]),
    ]


def test_demo_and_replay_read_their_own_arguments(parts: Parts) -> None:
    assert main(["demo", "--scripted", "--json", "out.json"]) == 17
    assert main(["replay", "trace"]) == 17
    assert parts.given == [("demo.run", ["--scripted", "--json", "out.json"]), ("device.replay", ["trace"])]


@pytest.mark.parametrize("argv", [[], ["fly"], ["device", "extra"], ["hub", "--fly"], ["check-config"]])
def test_wrong_usage(parts: Parts, argv: list[str]) -> None:
    _usage_error(*argv)
    assert parts.given == []


@pytest.mark.parametrize("command", ["device", "hub"])
def test_mistakes_in_the_configuration_end_with_78_and_all_are_told(
    parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    file = tmp_path / "intercomd.toml"
    file.write_text("[audio]\nframe_ms = 7\n[call]\nattempts = 0\n")
    assert main([command, "--config", str(file)]) == 78
    told = capsys.readouterr().err
    assert f"{file}: audio.frame_ms: is 7" in told
    assert f"{file}: call.attempts: is 0" in told
    assert parts.given == []


def test_a_mistake_that_shows_later_is_one_of_configuration_too(
    parts: Parts, hub_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts.raises = ConfigError(str(hub_file), (Mistake("hub.port", "is taken"),))
    assert main(["hub", "--config", str(hub_file)]) == 78
    assert "hub.port: is taken" in capsys.readouterr().err


def test_check_config(hub_file: Path, station_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(station_file)]) == 0
    assert "no mistakes" in capsys.readouterr().out
    station_file.write_text("[hub]\nport = 9000\n")
    assert main(["check-config", str(station_file)]) == 0
    assert main(["check-config", str(station_file), "--part", "device"]) == 78
    assert "there is no token" in capsys.readouterr().err


def test_version_and_help_load_nothing_heavy() -> None:
    for option in ("--version", "--help"):
        script = f"import sys; sys.argv[1:] = ['{option}']\nfrom intercomd.__main__ import main\n"
        script += f"try: main()\nexcept SystemExit: print([m for m in {HEAVY!r} if m in sys.modules])"
        shown = subprocess.check_output([sys.executable, "-c", script], text=True, timeout=60, env=os.environ)
        assert shown.splitlines()[-1] == "[]"
        assert option == "--help" or shown.startswith(f"intercomd {__version__}\n")
