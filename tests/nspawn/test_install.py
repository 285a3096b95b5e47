"""`make install` and `make uninstall` on Debian 13, as its root types them."""

import re

import pytest

from tests.nspawn.conftest import INSTALL, Boot, Installed, _files
from tests.nspawn.household import CONFIG
from tests.nspawn.machine import Machine

UNITS = ("intercomd.service", "intercomd-hub.service", "intercomd-fault.service")
EXPOSURE_LIMIT = 2.0


def exposure(machine: Machine) -> dict[str, float]:
    """0 (nothing that it does not need) to 10, by unit."""
    said = machine.run("systemd-analyze", "security", "--no-pager", *UNITS)
    return {unit: float(score) for unit, score in re.findall(r"exposure level for (\S+): ([\d.]+)", said)}


def test_it_says_what_is_to_be_done_next(installed: Installed) -> None:
    assert "Now edit /etc/intercomd/intercomd.toml" in installed.said
    assert "installing Debian packages" not in installed.said


def test_units_users_and_catalog_are_there_after_a_boot_and_nothing_is_exposed(boot: Boot) -> None:
    machine = boot()
    assert machine.run("systemctl", "is-enabled", "intercomd.service").strip() == "enabled"
    assert machine.run("systemctl", "is-enabled", "intercomd-hub.service", check=False).strip() == "disabled"
    groups = machine.run("id", "-nG", "intercomd").split()
    assert {"audio", "gpio", "intercom"} <= set(groups)
    assert machine.run("journalctl", "--list-catalog").count("intercomd: ") > 40
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    templates = ("intercomd-steady@intercomd.timer", "intercomd-steady@intercomd.service", "intercomd-fault.path")
    assert machine.run(*verify, *UNITS, *templates) == ""
    scores = exposure(machine)
    assert set(scores) == set(UNITS)
    assert max(scores.values()) <= EXPOSURE_LIMIT, scores


def test_again_changes_nothing(boot: Boot) -> None:
    machine = boot()
    machine.write(CONFIG, "# mine\n")
    said = machine.run("make", "-C", "/checkout", "install", environ=INSTALL, limit_s=300)
    assert "up to date" in said
    assert machine.read(CONFIG) == "# mine\n"


@pytest.mark.parametrize("purge", ["", "1"])
def test_uninstall_takes_everything_away(boot: Boot, installed: Installed, purge: str) -> None:
    machine = boot()
    machine.run("make", "-C", "/checkout", "uninstall", environ=[f"PURGE={purge}"])
    left = _files(machine) - installed.files_before
    ours = {file for file in left if "intercomd" in file and not file.startswith("/var/log/journal/")}
    state = {file for file in ours if file.startswith(("/var/lib/intercomd", "/etc/intercomd/", "/etc/credstore/"))}
    assert ours - state == set()
    assert bool(state) == (purge == "")
    assert machine.run("systemctl", "list-units", "--all", "--no-legend", "intercomd*").strip() == ""
    users = machine.run("getent", "passwd", "intercomd", check=False)
    assert bool(users) == (purge == "")
    assert "intercomd: " not in machine.run("journalctl", "--list-catalog")
