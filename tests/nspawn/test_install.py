"""`make install` and `make uninstall` on Debian 13, as its root types them."""

import time
from pathlib import Path

import pytest

from intercomd.errors import ErrorCode
from tests.nspawn.conftest import Boot
from tests.nspawn.household import CONFIG
from tests.nspawn.installing import DAEMONS, INSTALL_LIMIT_S, OFFLINE, Installed, exposure, files
from tests.nspawn.machine import Machine, MachineError
from tests.nspawn.raspberry import CONFIGURATION, GPIO_GID, SOUND, USER, VOLATILE, raspberry_pi_os

EXPOSURE_LIMIT = 2.0
JOURNALD = "systemd/journald.conf"
SHIPPED = {"Storage=persistent", "SystemMaxUse=64M", "SyncIntervalSec=10s"}
_STATE = ("/var/lib/intercomd", "/etc/intercomd/", "/etc/credstore/")


def test_it_says_what_is_to_be_done_next(system: Installed) -> None:
    assert "Now edit /etc/intercomd/intercomd.toml" in system.said
    assert "installing Debian packages" not in system.said


def test_units_users_and_catalog_are_there_after_a_boot_and_nothing_is_exposed(boot: Boot) -> None:
    machine = boot()
    assert machine.run("systemctl", "is-enabled", "intercomd.service").strip() == "enabled"
    assert machine.run("systemctl", "is-enabled", "intercomd-hub.service", check=False).strip() == "disabled"
    groups = machine.run("id", "-nG", "intercomd").split()
    assert {"audio", "gpio", "intercom"} <= set(groups)
    assert machine.run("getent", "passwd", "intercomd-hub")
    listed = {line.split()[0] for line in machine.run("journalctl", "--list-catalog").splitlines() if line}
    assert {code.name for code in ErrorCode if code.message_id.hex not in listed} == set()
    assert set(machine.run("systemd-analyze", "cat-config", "--tldr", JOURNALD).splitlines()) >= SHIPPED
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    templates = ("intercomd-steady@intercomd.timer", "intercomd-steady@intercomd.service", "intercomd-fault.path")
    assert machine.run(*verify, *DAEMONS, *templates) == ""
    scores = exposure(machine)
    assert set(scores) == set(DAEMONS)
    assert max(scores.values()) <= EXPOSURE_LIMIT, scores


def test_again_changes_nothing(boot: Boot) -> None:
    machine = boot()
    machine.write(CONFIG, "# mine\n")
    said = machine.run("make", "-C", "/checkout", "install", environ=OFFLINE, limit_s=INSTALL_LIMIT_S)
    assert "up to date" in said
    assert machine.read(CONFIG) == "# mine\n"


@pytest.mark.parametrize("purge", ["", "1"])
def test_uninstall_takes_everything_away(boot: Boot, system: Installed, purge: str) -> None:
    """Also while the station fails for want of a token, and its fault begins."""
    machine = boot()
    machine.run("systemctl", "stop", "intercomd-fault.service")
    machine.run("systemctl", "start", "--no-block", "intercomd.service")
    machine.run("make", "-C", "/checkout", "uninstall", environ=[f"PURGE={purge}"])
    left = files(machine) - system.files_before
    ours = {file for file in left if "intercomd" in file and not file.startswith("/var/log/journal/")}
    state = {file for file in ours if file.startswith(_STATE)}
    assert ours - state == set()
    assert bool(state) == (purge == "")
    # systemd forgets a unit without a file when it has nothing else to do.
    known = ("systemctl", "list-units", "--all", "--no-legend", "intercomd*")
    try:
        machine.wait("units that systemd still knows", lambda: machine.run(*known).strip() == "", 10)
    except MachineError:
        dump = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
        pytest.fail(machine.run(*known) + machine.run("busctl", "call", *dump, "Dump").replace("\\n", "\n"))
    users = machine.run("getent", "passwd", "intercomd", check=False)
    assert bool(users) == (purge == "")
    assert "intercomd: " not in machine.run("journalctl", "--list-catalog")


def test_where_raspberry_pi_os_differs_nothing_of_its_own_is_changed(system: Installed, workplace: Path) -> None:
    """Its user, its group gpio, its card's name, its boot partition, a configuration that is there already, and logs
    that it keeps in memory."""
    folder = workplace / f"raspberry-{time.monotonic_ns()}"
    installed, root = system.lower
    layer = raspberry_pi_os(folder / "layer", root, installed)
    with Machine((layer, root), folder, system.options) as machine:
        before, boot = files(machine), machine.sh("cat /boot/firmware/*")
        said = machine.run("make", "-C", "/checkout", "install", environ=OFFLINE, limit_s=INSTALL_LIMIT_S)
        # The configuration names no token.
        assert "journalctl -u intercomd -x says why" in said
        _, _, number, members = machine.run("getent", "group", "gpio").strip().split(":")
        assert (number, set(members.split(","))) == (str(GPIO_GID), {USER, "intercomd"})
        assert {"audio", "gpio", "intercom"} <= set(machine.run("id", "-nG", "intercomd").split())
        assert machine.read(CONFIG) == CONFIGURATION
        stored = machine.run("systemd-analyze", "cat-config", "--tldr", JOURNALD).splitlines()
        assert [line for line in stored if line.startswith("Storage=")][-1] == "Storage=persistent"
        assert machine.sh("ls /var/log/journal/*/system.journal").strip()

        machine.run("make", "-C", "/checkout", "uninstall", environ=["PURGE=1"])
        left = {file for file in files(machine) - before if not file.startswith("/var/log/journal/")}
        assert not {file for file in left if "intercom" in file}
        assert machine.run("getent", "group", "gpio").strip() == f"gpio:x:{GPIO_GID}:{USER}"
        assert machine.run("getent", "passwd", USER)
        assert machine.read("/etc/asound.conf") == SOUND
        assert machine.sh("cat /boot/firmware/*") == boot
        assert machine.exists(VOLATILE)
