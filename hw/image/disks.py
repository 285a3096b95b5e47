"""File systems and cards as files, without mounting anything: mke2fs and mcopy fill them, sfdisk lays them out."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.image.progress import Step

MIB = 1 << 20
SECTOR_BYTES = 512
FIRST_MIB = 4
"""Where the first partition begins: erase blocks of cards are up to 4 MiB."""


def ext4(told: Step, file: Path, label: str, size_mib: int, source: Path | None = None, *, inodes: int = 0) -> None:
    """An ext4 in a file, with a journal, filled from a folder."""
    file.unlink(missing_ok=True)
    command = ["mke2fs", "-q", "-t", "ext4", "-L", label, "-E", "lazy_itable_init=0,lazy_journal_init=0", "-m", "1"]
    if inodes:
        command += ["-N", str(inodes)]
    if source is not None:
        command += ["-d", str(source)]
    told.run([*command, str(file), f"{size_mib}M"])


def vfat(told: Step, file: Path, label: str, size_mib: int, source: Path) -> None:
    """A FAT32 in a file, filled from a folder."""
    file.unlink(missing_ok=True)
    os.truncate(_created(file), size_mib * MIB)
    told.run(["mkfs.vfat", "-F", "32", "-n", label, str(file)])
    for entry in sorted(source.iterdir()):
        told.run(["mcopy", "-s", "-m", "-i", str(file), str(entry), "::"])


@dataclass(frozen=True, slots=True)
class Partition:
    """`content` is a file system in a file; None for a place that is kept free."""

    size_mib: int
    kind: str
    content: Path | None


def card(told: Step, file: Path, partitions: Sequence[Partition], disk_id: int) -> None:
    """The whole card: an MBR and its partitions, one after the other. A last one without content lies beyond the end of
    the file: the card has the room, and nobody writes gigabytes of nothing to it."""
    file.unlink(missing_ok=True)
    starts = _starts(partitions)
    table = [f"label: dos\nlabel-id: 0x{disk_id:08x}\nunit: sectors"]
    for start, partition in zip(starts, partitions, strict=True):
        first = start * MIB // SECTOR_BYTES
        table.append(f"start={first}, size={partition.size_mib * MIB // SECTOR_BYTES}, type={partition.kind}")
    whole = starts[-1] + partitions[-1].size_mib
    os.truncate(_created(file), whole * MIB)
    told.run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(file)], stdin="\n".join(table) + "\n")
    for start, partition in zip(starts, partitions, strict=True):
        if partition.content is not None:
            told.run(["dd", f"if={partition.content}", f"of={file}", "bs=4M", f"seek={start * MIB}",
                      "oflag=seek_bytes", "conv=notrunc,sparse", "status=none"])  # fmt: skip
    if partitions[-1].content is None:
        os.truncate(file, starts[-1] * MIB)


def _starts(partitions: Sequence[Partition]) -> list[int]:
    starts, at = [], FIRST_MIB
    for partition in partitions:
        starts.append(at)
        at += partition.size_mib
    return starts


def _created(file: Path) -> Path:
    file.touch()
    return file


def used_mib(folder: Path) -> int:
    """What the files below it take, without other file systems."""
    asked = ["du", "-sxm", str(folder)]
    return int(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=120).stdout.split()[0])
