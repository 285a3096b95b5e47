"""Now, in a form that can be kept and compared after a restart."""

import functools
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, by the wall clock and by the clock that counts since boot (which no time server moves)."""

    wall_s: float
    boot_id: str
    since_boot_s: float

    @classmethod
    def now(cls) -> "Instant":
        return cls(time.time(), _boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def since(self, then: "Instant") -> float | None:
        """Seconds from `then` to this; None where the wall clock went backwards over a reboot."""
        same_boot = self.boot_id == then.boot_id
        age_s = self.since_boot_s - then.since_boot_s if same_boot else self.wall_s - then.wall_s
        return age_s if age_s >= 0 else None


@functools.cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
