"""`make install` on a fresh Debian 13, as a layer that machines boot from."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.nspawn.household import furnish, move_in
from tests.nspawn.machine import ROOT, Machine
from tests.nspawn.tree import tree

OFFLINE = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels", "PIP_CONSTRAINT=/checkout/hw/image/constraints.txt")
INSTALL_LIMIT_S = 300.0
DAEMONS = ("intercomd.service", "intercomd-hub.service", "intercomd-fault.service")


@dataclass(frozen=True, slots=True)
class Installed:
    """`said`: what the installer wrote; `lower`: the layers of a machine with everything installed, `options` what it
    is booted with; `files_before`: all files of the system as it was."""

    said: str
    took_s: float
    lower: tuple[Path, ...]
    options: tuple[str, ...]
    files_before: frozenset[str]


def installed(folder: Path) -> Installed:
    """Copies the checkout as it is now, whoever edits it meanwhile, boots and installs."""
    trees = tree()
    checkout = folder / "checkout"
    _copy(checkout)
    options = (f"--bind-ro={checkout}:/checkout", f"--bind-ro={trees}/wheels:/wheels", "--machine=intercom")
    machine = Machine([trees / "root"], folder / "installed", options)
    with machine:
        before = files(machine)
        began_s = time.monotonic()
        said = machine.run("make", "-C", "/checkout", "install", environ=OFFLINE, limit_s=INSTALL_LIMIT_S)
        took_s = time.monotonic() - began_s
    return Installed(said, took_s, (machine.layer, trees / "root"), options, before)


def _copy(target: Path) -> None:
    """What git knows, and what it would."""
    git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    for name in listed.splitlines():
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def files(machine: Machine) -> frozenset[str]:
    """All but what is in memory."""
    return frozenset(machine.sh("find / -xdev -not -type d -not -path '/run/*' -not -path '/tmp/*'").splitlines())


@contextmanager
def household(system: Installed, folder: Path) -> Iterator[Machine]:
    """A machine with a hub, a door and a flat that are registered."""
    with Machine(system.lower, folder, system.options) as machine:
        try:
            furnish(machine)
            move_in(machine)
            yield machine
        finally:
            machine.cut()


def exposure(machine: Machine) -> dict[str, float]:
    """By unit: 0 (nothing that it does not need) to 10."""
    said = machine.run("systemd-analyze", "security", "--no-pager", *DAEMONS)
    return {unit: float(score) for unit, score in re.findall(r"exposure level for (\S+): ([\d.]+)", said)}
