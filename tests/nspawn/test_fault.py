"""A configuration with a mistake: the fault unit tells, and the mended file tries again by itself."""

from typing import Any

from intercomd.device.fault import PAUSE_S, TIMES
from tests.nspawn.conftest import Boot
from tests.nspawn.household import CONFIG, DOOR, HUB, furnish, heard, record, station, token, wait_registered
from tests.nspawn.machine import Machine

FAULT, PATH = "intercomd-fault.service", "intercomd-fault.path"
REPORT = "/etc/intercomd/intercomd-error.txt"


def broken(machine: Machine) -> bool:
    return machine.property(FAULT, "ActiveState") == "active" and machine.property(PATH, "ActiveState") == "active"


def said(machine: Machine, seconds: float) -> dict[str, Any]:
    """Whether the sentence is heard within these seconds."""
    record(machine, "door_spk", seconds, "/run/said.raw")
    return heard(machine, "/checkout/intercomd/texts/spoken/en/configuration.wav", "/run/said.raw")


def test_a_mistake_is_told_and_the_mended_file_is_tried(boot: Boot) -> None:
    machine = boot()
    furnish(machine)
    machine.run("systemctl", "start", HUB)
    machine.write("/etc/credstore/intercomd.hub-token", token(machine, "door"), "0600")
    good = machine.read(CONFIG)

    machine.write(CONFIG, station("door", "flat", audio="bitrate_bps = 1"))
    machine.run("systemctl", "start", DOOR, check=False)
    machine.wait("the fault is told", lambda: broken(machine))
    found = [said(machine, 12.0)]
    # It is said again after a pause: where others use the machine, sound that is played at once has gaps.
    while not found[-1]["ok"] and len(found) < TIMES:
        found.append(said(machine, PAUSE_S + 10))
    assert found[-1]["ok"], found
    report = machine.read(REPORT)
    assert "audio.bitrate_bps: is 1" in report
    assert "配置有误" in report
    assert REPORT in machine.property(FAULT, "StatusText")
    lines = machine.journal("ERROR_CODE=CONFIG_INVALID")
    assert any("audio.bitrate_bps" in line["REASON"] for line in lines)
    assert {line["_SYSTEMD_UNIT"] for line in lines} == {DOOR}
    assert machine.property(DOOR, "ExecMainStatus") == "78"

    machine.write(CONFIG, station("door", "flat", audio="bitrate_bps = 2", call="grace_s = 0"))
    machine.wait("still wrong in another way", lambda: broken(machine) and "grace_s" in machine.read(REPORT))

    # As an editor saves: another file in its place.
    machine.write(f"{CONFIG}.new", good)
    machine.run("mv", f"{CONFIG}.new", CONFIG)
    wait_registered(machine, "door")
    machine.wait_active(DOOR)
    assert machine.property(FAULT, "ActiveState") == "inactive"
    assert machine.property(PATH, "ActiveState") == "inactive"
    machine.wait("the report is gone", lambda: not machine.exists(REPORT))


def test_without_a_token_the_fault_is_told_until_there_is_one(boot: Boot) -> None:
    """The first minutes of a new station: also what is no file of the configuration's is looked at."""
    machine = boot()
    furnish(machine)
    machine.run("systemctl", "start", HUB)
    machine.run("systemctl", "start", DOOR, check=False)
    machine.wait("the fault is told", lambda: broken(machine))
    assert "station.token_file: there is no token" in machine.read(REPORT)
    machine.write("/etc/credstore/intercomd.hub-token", token(machine, "door"), "0600")
    wait_registered(machine, "door")
    machine.wait("the report is gone", lambda: not machine.exists(REPORT))


def test_a_reboot_tries_again(boot: Boot) -> None:
    machine = boot()
    furnish(machine)
    machine.write(CONFIG, "[[[")
    machine.off()
    machine.start()
    machine.wait("the fault is told", lambda: broken(machine))
    assert "not TOML" in machine.read(REPORT)
