"""`make install` and `make uninstall` on Debian 13, as its root types them."""

import pytest

from tests.nspawn.conftest import Boot
from tests.nspawn.household import CONFIG
from tests.nspawn.installing import DAEMONS, INSTALL_LIMIT_S, OFFLINE, Installed, exposure, files

EXPOSURE_LIMIT = 2.0
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
    assert machine.run("journalctl", "--list-catalog").count("intercomd: ") > 40
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
    machine = boot()
    machine.run("make", "-C", "/checkout", "uninstall", environ=[f"PURGE={purge}"])
    left = files(machine) - system.files_before
    ours = {file for file in left if "intercomd" in file and not file.startswith("/var/log/journal/")}
    state = {file for file in ours if file.startswith(_STATE)}
    assert ours - state == set()
    assert bool(state) == (purge == "")
    assert machine.run("systemctl", "list-units", "--all", "--no-legend", "intercomd*").strip() == ""
    users = machine.run("getent", "passwd", "intercomd", check=False)
    assert bool(users) == (purge == "")
    assert "intercomd: " not in machine.run("journalctl", "--list-catalog")
