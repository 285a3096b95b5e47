"""The machine of the scenes: its disks in layers, the two moments that are kept, and where results go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.image import ROOT
from intercomd.demo.checks import Findings
from tests.vm.disks import APPEND, Disks
from tests.vm.machine import Hardware, Machine

RUN = ROOT / "build" / "vm" / "run"
READY, IN_CALL = "ready", "call"
"""Snapshots: both stations at rest after the first start; both in a call."""
WATCHDOG = ("-device", "i6300esb", "-action", "watchdog=reset")
HARDWARE = Hardware(extra=WATCHDOG)
HASTY = Hardware(extra=WATCHDOG, counted=False)
"""By the clock outside: for a kernel that spins in a delay loop, whose instructions would take minutes to count."""
BOOT_LIMIT_S = 90


@dataclass(frozen=True, slots=True)
class Bench:
    """The disks with their layers, and where results go."""

    disks: Disks
    findings: Findings

    @property
    def layers(self) -> list[Path]:
        return [RUN / "root.qcow2", RUN / "state.qcow2"]

    def machine(
        self,
        snapshot: str = "",
        clock: str = "utc",
        layers: Sequence[Path] = (),
        hardware: Hardware = HARDWARE,
        without: Sequence[str] = (),
    ) -> Machine:
        """Up. `without`: units that it does not start."""
        self.findings.say(
            f"the machine goes on from where it was kept: {snapshot}" if snapshot else "the machine starts"
        )
        append = " ".join((APPEND, *(f"systemd.mask={unit}" for unit in without)))
        machine = Machine(
            RUN, layers or self.layers, self.disks.kernel, self.disks.initrd, append, hardware, snapshot, clock
        )
        try:
            if snapshot:
                # Its clock goes on from then: jumped ahead, calls would be older than their grace.
                machine.attach()
            else:
                machine.await_up()
        except BaseException:
            machine.close()
            raise
        return machine
