"""`make test-vm`: the station on a whole machine with the shipped kernel. 25 minutes at most, on two cores, as root.

    python -m tests.vm [SCENE ...]      all of them, or only some: boot comes first, unless a run's disks are kept

Results: build/vm/results.json (INTERFACES.md: checks); the benchmark `appliance` takes its figures from there.
"""

import argparse
import os
import shutil
import sys
import time

from hw.image import ROOT
from intercomd.demo.checks import Findings
from tests.vm.disks import Disks, built
from tests.vm.machine import MachineError
from tests.vm.scenes import SCENES, Bench

RESULTS = ROOT / "build" / "vm" / "results.json"
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs",
}  # fmt: skip


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
    return _play(chosen, built(keep=options.keep))


def _play(chosen: list[str], disks: Disks) -> int:
    findings = Findings()
    bench = Bench(disks, findings)
    for name in chosen:
        began_s = time.monotonic()
        findings.say(f"---- {name}")
        try:
            SCENES[name](bench)
        except MachineError as error:
            findings.check(f"{name} is played to its end", False, str(error))
            if name == "boot":
                break
        findings.figure(f"wall time of {name}", time.monotonic() - began_s, "s")
    findings.write(RESULTS)
    checks = [row for row in findings.rows if row.kind == "check"]
    passed = sum(row.ok for row in checks)
    print(f"{passed} passed, {len(checks) - passed} failed")
    return 0 if findings.ok else 1


if __name__ == "__main__":
    sys.exit(main())
