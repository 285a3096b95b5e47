"""What a process costs, read from outside (proc(5)): the same way for ours and for every peer."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Footprint:
    """`cpu_s` since the process began; `pss_bytes` counts pages shared with others in parts."""

    rss_bytes: int
    pss_bytes: int
    threads: int
    fds: int
    cpu_s: float


def footprint(pid: int) -> Footprint:
    """Raises FileNotFoundError when it is gone."""
    home = Path(f"/proc/{pid}")
    rollup = {
        line.split(":")[0]: int(line.split()[1]) * 1024
        for line in (home / "smaps_rollup").read_text().splitlines()
        if line.endswith("kB")
    }
    fields = (home / "stat").read_text().rpartition(")")[2].split()
    return Footprint(
        rss_bytes=rollup["Rss"],
        pss_bytes=rollup["Pss"],
        threads=int(fields[17]),
        fds=len(os.listdir(home / "fd")),
        cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
    )
