"""Now, in a form that can be kept and compared after a restart."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, by the wall clock and by the clock that counts since boot (which no time server moves)."""

    wall_s: float
    boot_id: str
    since_boot_s: float

    @classmethod
    def now(cls, wall: Callable[[], float] = time.time) -> "Instant":
        return cls(wall(), _boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def since(self, then: "Instant") -> float | None:
        """Seconds from `then` to this within a boot; None over a reboot, which no clock of the station's survives: the
        wall clock starts anywhere, and may have been anywhere then."""
        return self.since_boot_s - then.since_boot_s if self.boot_id == then.boot_id else None


@functools.cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
