"""The units and their companions: systemd accepts them, they are hardened, and they agree with the code they serve."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from intercomd.__main__ import CONFIGURATION, DEFAULT_CONFIG
from intercomd.config import Hub, Station
from intercomd.config.credentials import HUB_CA, HUB_TOKEN, HUB_URL
from intercomd.device import control
from intercomd.device.fault import REPORT
from intercomd.media import engine

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ("intercomd.service", "intercomd-hub.service")
FAULT = "intercomd-fault.service"
COMPANIONS = (FAULT, "intercomd-fault.path", "intercomd-steady@.service", "intercomd-steady@.timer")
EXPOSURE_LIMIT = 2.0

Settings = list[tuple[str, str]]


def settings(unit: str) -> Settings:
    """Key and value, in order: keys repeat in unit files."""
    lines = (SYSTEMD / unit).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return [(key, value) for key, _, value in pairs]


def values(unit: str, key: str) -> list[str]:
    return [value for name, value in settings(unit) if name == key]


def value(unit: str, key: str) -> str:
    (only,) = values(unit, key)
    return only


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# ------------------------------------------------------------------------------------------- what systemd says of them


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """The units with a program that exists, for `verify` looks for it."""
    for unit in (*UNITS, *COMPANIONS):
        text = (SYSTEMD / unit).read_text()
        program = tmp_path / "intercomd"
        (tmp_path / unit).write_text(text.replace("ExecStart=/opt/intercomd/bin/intercomd", f"ExecStart={program}"))
        shutil.copy("/bin/true", program)
        if unit in UNITS and systemd_version() >= 254:
            (tmp_path / f"{unit}.d").mkdir()
            shutil.copy(SYSTEMD / "restart.conf", tmp_path / f"{unit}.d" / "50-restart.conf")
    return tmp_path


def systemd_version() -> int:
    found = re.match(r"systemd (\d+)", run("systemd-analyze", "--version").stdout)
    return int(found.group(1)) if found else 0


def verify(unit: Path) -> tuple[int, str]:
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit))
    return done.returncode, done.stderr


def exposure(unit: Path) -> float:
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found.group(1))


@pytest.mark.platform("systemd-analyze")
@pytest.mark.parametrize("unit", [*UNITS, FAULT, "intercomd-fault.path"])
def test_systemd_understands_every_key(workshop: Path, unit: str) -> None:
    assert verify(workshop / unit) == (0, "")


@pytest.mark.platform("systemd-analyze")
def test_a_misspelt_key_would_be_seen(workshop: Path) -> None:
    unit = workshop / UNITS[0]
    unit.write_text(unit.read_text().replace("RestrictNamespaces=", "RestrictNamespace="))
    _, said = verify(unit)
    assert "RestrictNamespace" in said


@pytest.mark.platform("systemd-analyze")
@pytest.mark.parametrize("unit", [*UNITS, FAULT])
def test_exposure(workshop: Path, unit: str) -> None:
    assert exposure(workshop / unit) <= EXPOSURE_LIMIT


@pytest.mark.platform("systemd-analyze")
def test_a_unit_without_its_sandbox_would_be_seen(workshop: Path) -> None:
    unit = workshop / UNITS[0]
    kept = [line for line in unit.read_text().splitlines() if not line.startswith(("Protect", "System", "Capability"))]
    unit.write_text("\n".join(kept))
    assert exposure(unit) > EXPOSURE_LIMIT


def test_the_newest_keys_stand_apart() -> None:
    """systemd before 254 (Debian 12) does not know them: they are in a drop-in that is left out there."""
    keys = [
        line.partition("=")[0]
        for line in (SYSTEMD / "restart.conf").read_text().splitlines()
        if re.match(r"\w+=", line)
    ]
    newest = ("RestartSteps", "RestartMaxDelaySec", "RestartMode")
    assert keys == [*newest, "ExecStartPost"]
    for unit in UNITS:
        assert not {key for key, _ in settings(unit)} & set(newest)


@pytest.mark.platform("systemd-analyze", "root")
def test_users_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\naudio:x:29:\n")
    made = run("systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "sysusers.conf"))
    assert made.returncode == 0, made.stderr
    groups = {line.split(":")[0]: line.split(":")[3] for line in (tmp_path / "etc/group").read_text().splitlines()}
    users = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    for unit in UNITS:
        assert value(unit, "User") in users
        wanted = [value(unit, "Group"), *" ".join(values(unit, "SupplementaryGroups")).split()]
        assert set(wanted) <= set(groups)
    assert all("intercomd" in groups[name] for name in ("audio", "gpio", "intercom"))
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(SYSTEMD / "tmpfiles.conf"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "etc" / "credstore").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "etc" / "intercomd").is_dir()


JOURNALD = """
set -eu
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d
cp "$1" /run/systemd/journald.conf.d/50-intercomd.conf
SYSTEMD_LOG_TARGET=console /lib/systemd/systemd-journald >/run/out 2>&1 &
for _ in $(seq 200); do [ -S /run/systemd/journal/socket ] && break; sleep 0.05; done
journalctl --flush >/dev/null 2>&1 || true
for _ in $(seq 100); do ls /var/log/journal/*/system.journal >/dev/null 2>&1 && break; sleep 0.05; done
cat /run/out
ls /var/log/journal/*/system.journal
"""


@pytest.mark.platform("private-journald")
def test_journald_takes_its_settings_and_keeps_the_journal() -> None:
    unshare = ("unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "bash", "-c", JOURNALD, "x")
    done = run(*unshare, str(SYSTEMD / "journald.conf"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "system.journal" in done.stdout
    assert not re.search("unknown|fail|invalid", done.stdout, re.IGNORECASE), done.stdout


# ------------------------------------------------------------------------------------------ what the code relies upon


@pytest.mark.parametrize("unit", UNITS)
def test_a_faulty_configuration_is_not_tried_again(unit: str) -> None:
    assert value(unit, "RestartPreventExitStatus") == str(CONFIGURATION)
    assert value(unit, "Restart") == "always"
    assert value(unit, "StartLimitIntervalSec") == "0"


def test_a_faulty_configuration_is_told_and_tried_again_when_it_changes() -> None:
    """What it does is seen in tests/nspawn; here, that the units name each other and the same files."""
    assert value(UNITS[0], "OnFailure") == value(UNITS[0], "Conflicts") == FAULT
    assert value(FAULT, "ExecStart") == f"/opt/intercomd/bin/intercomd fault --config {DEFAULT_CONFIG}"
    assert value(FAULT, "Wants") == "intercomd-fault.path"
    assert value("intercomd-fault.path", "Unit") == UNITS[0]
    credential = values(UNITS[0], "LoadCredential")[0].partition(":")[2]
    assert values("intercomd-fault.path", "PathChanged") == [DEFAULT_CONFIG, f"/etc/credstore/{credential}"]
    assert value(UNITS[0], "RuntimeDirectoryPreserve") == "yes"
    assert f"/{REPORT}" in value(UNITS[0], "ExecStartPost")


@pytest.mark.parametrize(("unit", "command"), [*zip(UNITS, ("device", "hub"), strict=True)])
def test_the_program_and_its_configuration(unit: str, command: str) -> None:
    assert value(unit, "ExecStart") == f"/opt/intercomd/bin/intercomd {command} --config {DEFAULT_CONFIG}"
    assert (value(unit, "Type"), value(unit, "NotifyAccess")) == ("notify", "main")


def test_directories_are_the_configuration_s_defaults() -> None:
    station, hub = UNITS
    assert Station().state_dir == f"/var/lib/{value(station, 'StateDirectory')}"
    assert Path(Station().control_socket).parent == Path("/run") / value(station, "RuntimeDirectory")
    assert f"/var/lib/{value(hub, 'StateDirectory')}/" in Hub().database_url


def test_credentials_have_the_names_that_are_looked_for() -> None:
    wanted = [f"{name}:intercomd.{name}" for name in (HUB_TOKEN, HUB_CA, HUB_URL)]
    assert values(UNITS[0], "LoadCredential") == wanted


def test_the_control_socket_s_group_is_the_unit_s() -> None:
    """chown(2) is filtered (@privileged): the socket has the right group because the process has it."""
    assert value(UNITS[0], "Group") == control.GROUP


def test_the_audio_threads_may_have_what_they_ask_for() -> None:
    station = UNITS[0]
    assert int(value(station, "LimitRTPRIO")) >= engine._FIFO_PRIORITY
    assert int(value(station, "LimitNICE")) <= engine._NICE
    filters = values(station, "SystemCallFilter")
    assert {"sched_setscheduler", "setpriority"} <= set(filters[-1].split())
    assert not values(station, "RestrictRealtime")


def test_the_station_may_write_and_execute_memory() -> None:
    """Not a wish: pyOpenSSL's verify callback is a cffi closure, and under MemoryDenyWriteExecute= every call ends in
    a MemoryError of its DTLS handshake (seen with systemd 257, cffi 2.1). The hub has no DTLS."""
    assert values(UNITS[0], "MemoryDenyWriteExecute") == []
    assert values(UNITS[1], "MemoryDenyWriteExecute") == ["yes"]


def test_sound_and_gpio_are_the_only_devices() -> None:
    assert value(UNITS[0], "DevicePolicy") == "closed"
    assert values(UNITS[0], "DeviceAllow") == ["char-alsa rw", "char-gpiochip rw"]
    assert value(UNITS[1], "PrivateDevices") == "yes"


def test_no_capability_at_all() -> None:
    for unit in UNITS:
        assert values(unit, "CapabilityBoundingSet") == values(unit, "AmbientCapabilities") == [""]


def test_the_journal_is_kept_capped_and_synced() -> None:
    parsed = configparser.ConfigParser()
    parsed.read(SYSTEMD / "journald.conf")
    journal = parsed["Journal"]
    assert (journal["Storage"], journal["SystemMaxUse"], journal["SyncIntervalSec"]) == ("persistent", "64M", "10s")


def test_the_gpio_rule() -> None:
    rules = [line for line in (SYSTEMD / "gpio.rules").read_text().splitlines() if not line.startswith("#")]
    assert rules == ['SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="gpio", MODE="0660"']
