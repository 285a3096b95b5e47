"""`make image`: build/image/intercomd-VERSION-arm64.img.xz, its sha256, its package list and the list that Raspberry Pi
Imager reads. As root, on Debian 12 or 13; the slow tree of Debian is kept under build/trees.

    python -m hw.image [--fast] [--url ADDRESS]     --fast: xz's lowest level, for tests
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from hw.image import ROOT, furnishing, recipes, trees, wheels
from hw.image.disks import Partition, card, ext4, used_mib, vfat
from hw.image.packing import FAST_LEVEL, LEVEL, Published, pack
from hw.image.progress import step
from intercomd import __version__

OUT = ROOT / "build" / "image"
FIGURES = OUT / "built.json"
# Both roots and the rest on what is sold as 4 GB: the smallest of those have 3,700 MiB.
BOOT_MIB, ROOT_MIB, STATE_MIB = 256, 1536, 256
FREE_SHARE = 0.1
NEEDED = {
    "mmdebstrap": "mmdebstrap", "qemu-aarch64-static": "qemu-user-static", "mkfs.vfat": "dosfstools", "mcopy": "mtools",
    "mke2fs": "e2fsprogs", "sfdisk": "fdisk", "xz": "xz-utils",
}  # fmt: skip


def image() -> Published:
    """The files of this version, built or not."""
    return Published(OUT / f"intercomd-{__version__}-arm64.img")


def main() -> int:
    parser = argparse.ArgumentParser("python -m hw.image", description="Build the card of a Raspberry Pi.")
    parser.add_argument("--fast", action="store_true", help="pack little, for tests")
    parser.add_argument("--url", default="", metavar="ADDRESS", help="folder where the packed image will be offered")
    options = parser.parse_args()
    if missing := sorted({package for program, package in NEEDED.items() if not shutil.which(program)}):
        print(f"image: programs are missing: apt-get install --no-install-recommends {' '.join(missing)}")
        return 1
    if os.geteuid():
        print("image: making a Debian tree needs root: sudo make image")
        return 1
    began_s = time.monotonic()
    kept = recipes.CARD.folder.is_dir()
    built = build()
    built_s = time.monotonic() - began_s
    pack(built, FAST_LEVEL if options.fast else LEVEL, options.url)
    _tell(built, built_s, time.monotonic() - began_s - built_s, kept)
    return 0


def build() -> Published:
    """The unpacked image and its package list."""
    built = image()
    tree = trees.made(recipes.CARD)
    OUT.mkdir(parents=True, exist_ok=True)
    work = OUT / f"work.{os.getpid()}"
    # Of the content: the same build has the same partition ids, another one cannot be taken for it.
    disk_id = int(hashlib.sha256(f"{built.raw.stem} {recipes.CARD.key}".encode()).hexdigest()[:8], 16)
    try:
        with trees.laid_over(tree, work) as merged:
            furnishing.furnish(merged, disk_id)
            _partitions(merged, work, built, disk_id)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _list(tree, built)
    return built


def _partitions(merged: Path, work: Path, built: Published, disk_id: int) -> None:
    with step("partitions") as told:
        furnishing.boot_files(merged, work / "boot", disk_id)
        furnishing.state_files(work / "state")
        shutil.rmtree(merged / "boot" / "firmware")
        (merged / "boot" / "firmware").mkdir()
        for copy in (*merged.glob("boot/vmlinuz-*"), *merged.glob("boot/initrd.img-*")):
            copy.unlink()  # the FAT partition has it
        used = used_mib(merged)
        if used > ROOT_MIB * (1 - FREE_SHARE):
            raise SystemExit(f"image: the root takes {used} MiB of {ROOT_MIB}: raise ROOT_MIB in hw/image/__main__.py")
        vfat(told, work / "boot.vfat", "INTERCOM", BOOT_MIB, work / "boot")
        ext4(told, work / "root.ext4", "intercom-root-a", ROOT_MIB, merged)
        ext4(told, work / "state.ext4", "intercom-state", STATE_MIB, work / "state", inodes=4096)
        slots = (
            Partition(BOOT_MIB, "c", work / "boot.vfat"),
            Partition(ROOT_MIB, "83", work / "root.ext4"),
            Partition(STATE_MIB, "83", work / "state.ext4"),
            # The other root, for updates that can be taken back (A/B): a place only.
            Partition(ROOT_MIB, "83", None),
        )
        card(told, built.raw, slots, disk_id)


def _list(tree: Path, built: Published) -> None:
    lines = ["# Debian: package, version, architecture, source package, its version", trees.package_list(tree)]
    lines += [
        "# Python, in /opt/intercomd",
        "\n".join(wheels.pins()),
        f"intercomd=={__version__} ({furnishing.version()})",
    ]
    (built.raw.with_suffix(".packages.txt")).write_text("\n".join(lines) + "\n")


def _tell(built: Published, built_s: float, packed_s: float, kept: bool) -> None:
    packed_mib = built.packed.stat().st_size / (1 << 20)
    card_mib = built.raw.stat().st_size >> 20
    print(f"{built.packed}: {packed_mib:.0f} MiB packed, {card_mib} MiB on the card, {built_s + packed_s:.0f} s")
    figures = {
        "packed_mib": round(packed_mib, 1),
        "card_mib": card_mib,
        "build_s": round(built_s, 1),
        "pack_s": round(packed_s, 1),
        "tree_kept": kept,
        "tree_s": recipes.CARD.took_s,
    }
    FIGURES.write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    sys.exit(main())
