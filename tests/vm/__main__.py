"""`make test-vm`: the station on a whole machine with the shipped kernel. 25 minutes at most, on two cores, as root.

    python -m tests.vm [--keep] [SCENE ...]      all of them, or only some of an earlier run's machine

Results: build/vm/results.json (INTERFACES.md: checks); the benchmark `appliance` takes its figures from there. Scenes
that are played alone replace their own results there; `boot` makes the machine anew and forgets all of them.
"""

import argparse
import io
import json
import os
import shutil
import sys
import time

from hw.image import ROOT
from intercomd.demo.checks import Findings, Row
from tests.vm.bench import Bench
from tests.vm.disks import Disks, built
from tests.vm.machine import MachineError
from tests.vm.scenes import SCENES

LIMIT_S = 25 * 60
SCENE_RESULTS = ROOT / "build" / "vm" / "scenes"
RESULTS = ROOT / "build" / "vm" / "results.json"
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mmdebstrap": "mmdebstrap",
    "setpriv": "util-linux", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs",
}  # fmt: skip
BEGINNING = (
    "test-vm: Debian with the shipped kernel, a hub and two stations in an emulated machine (QEMU without KVM), and\n"
    "what may happen to it, scene by scene. About 15 minutes on two cores that are free, 25 at most; the first time\n"
    "3 minutes more for Debian's packages. A line per finding as it comes, a table at the end; its console is\n"
    "build/vm/run/console.txt. Each start of the machine is a minute or two without a word."
)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.vm", description="The station on a whole machine.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; default: all")
    parser.add_argument("--keep", action="store_true", help="take the disks that are there, whatever has changed since")
    options = parser.parse_args()
    chosen = options.scenes or list(SCENES)
    if unknown := [scene for scene in chosen if scene not in SCENES]:
        parser.error(f"there is no scene {unknown[0]}")
    if missing := sorted({package for program, package in NEEDED.items() if not shutil.which(program)}):
        print(f"test-vm: programs are missing: apt-get install --no-install-recommends {' '.join(missing)}")
        return 1
    if os.geteuid():
        print("test-vm: making a Debian tree needs root: sudo make test-vm")
        return 1
    print(BEGINNING, flush=True)
    # Snapshots belong to the disks that they were made on.
    return _play(chosen, built(keep=options.keep or "boot" not in chosen))


def _play(chosen: list[str], disks: Disks) -> int:
    for place, name in enumerate(chosen, 1):
        if name == "boot":
            shutil.rmtree(SCENE_RESULTS, ignore_errors=True)
        if not _scene(name, disks, f"{place} of {len(chosen)}") and name == "boot":
            break
    found = _gathered()
    print(f"\n{found.table()}\nin {RESULTS.relative_to(ROOT)}")
    return 0 if found.ok else 1


def _scene(name: str, disks: Disks, place: str) -> bool:
    """Whether it was played to its end; what it found is written either way."""
    findings = Findings()
    findings.say(f"---- {place}, {name}: {_told(name)}")
    began_s = time.monotonic()
    try:
        SCENES[name](Bench(disks, findings))
    except MachineError as error:
        findings.check(f"{name} is played to its end", False, str(error))
    findings.figure(f"wall time of {name}", time.monotonic() - began_s, "s")
    findings.write(SCENE_RESULTS / f"{name}.json")
    return not any(row.name.endswith("is played to its end") for row in findings.rows)


def _told(name: str) -> str:
    """The first sentence of what is said of the scene."""
    return " ".join((SCENES[name].__doc__ or "").partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _gathered() -> Findings:
    """The results of each scene that was played on this machine, in their order, written as one."""
    findings = Findings(io.StringIO())
    for name in SCENES:
        file = SCENE_RESULTS / f"{name}.json"
        if file.exists():
            findings.rows += [Row(**row) for row in json.loads(file.read_text())["checks"]]
    walls = [float(row.value or 0) for row in findings.rows if row.name.startswith("wall time of")]
    findings.figure(f"wall time of {len(walls)} scenes of {len(SCENES)}", sum(walls), "s", at_most=LIMIT_S)
    findings.write(RESULTS)
    return findings


if __name__ == "__main__":
    sys.exit(main())
