"""The card's state partition in the container: a file system as on the card, on a loop device of its own, with the
door's state and the journal on it. What reaches it is counted by the kernel below every cache (block/stat.rst)."""

import os
import subprocess
from pathlib import Path

from tests.nspawn.household import DOOR, FLAT, HUB
from tests.nspawn.machine import ROOT, Machine

PLACE = "/card"
"""Where the folder with the file lies in the machine."""
STATE = "/var/lib/intercom-state"
_FILE = "state.ext4"
_SIZE_MIB, _INODES = 256, 4096
_SECTOR_BYTES = 512

_MOUNT = f"""
test -e /dev/loop-control || mknod /dev/loop-control c 10 237
for n in $(seq 0 31); do test -e /dev/loop$n || mknod /dev/loop$n b 7 $n; done
systemctl stop "$2"
mkdir -p {STATE}
mount -o "loop,$1" {PLACE}/{_FILE} {STATE}
cp -a /var/lib/intercomd {STATE}/
mount --bind {STATE}/intercomd /var/lib/intercomd
mkdir -m 2755 {STATE}/journal
chgrp systemd-journal {STATE}/journal
journalctl --relinquish-var
mount --bind {STATE}/journal "/var/log/journal/$(cat /etc/machine-id)"
journalctl --flush
systemctl start "$2"
findmnt --noheadings --output SOURCE {STATE}
"""
"""journald goes to memory, and from there to the partition, as at a card's start."""


def lacking() -> str | None:
    """Why there can be no such partition here."""
    return None if Path("/dev/loop-control").exists() else "no loop devices here (module loop)"


def made(folder: Path) -> str:
    """The option by which a machine shows the folder with the new file system."""
    folder.mkdir()
    lazy = "lazy_itable_init=0,lazy_journal_init=0"
    with (folder / _FILE).open("wb") as file:
        file.truncate(_SIZE_MIB << 20)
    command = ["mke2fs", "-q", "-t", "ext4", "-E", lazy, "-m", "1", "-N", str(_INODES), str(folder / _FILE)]
    subprocess.run(command, check=True, timeout=60)
    return f"--bind={folder}:{PLACE}"


def _options() -> str:
    """Of the card's own fstab, less what waits for a device."""
    (line,) = [line for line in (ROOT / "hw/image/card/fstab.in").read_text().splitlines() if f" {STATE} " in line]
    return ",".join(one for one in line.split()[3].split(",") if not one.startswith(("nofail", "x-systemd")))


def settle(machine: Machine) -> Path:
    """Door and journal lie on the partition; what others than a card's own daemons log goes to a journal in memory.
    Returns the device's folder in sysfs."""
    machine.write("/etc/systemd/journald@others.conf", "[Journal]\nStorage=volatile\n")
    for unit in (FLAT, HUB):
        machine.write(f"/run/systemd/system/{unit}.d/80-others.conf", "[Service]\nLogNamespace=others\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", FLAT, HUB)
    device = machine.sh(_MOUNT, _options(), DOOR).split()[-1]
    return Path("/sys/block", os.path.basename(device))


def written(machine: Machine, device: Path) -> int:
    """Bytes since the device was made, with all that waits to be written."""
    machine.run("journalctl", "--sync")
    machine.run("sync", "--file-system", STATE)
    return int((device / "stat").read_text().split()[6]) * _SECTOR_BYTES
