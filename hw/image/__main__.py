"""`make image`: build/image/intercomd-VERSION-arm64.img.xz, its sha256, its package list and the list that Raspberry Pi
Imager reads. As root, on Debian 12 or 13; the slow tree of Debian is kept under build/trees.

    python -m hw.image [--fast]        --fast: xz's lowest level, for tests
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hw.image import ROOT, furnishing, recipes, trees, wheels
from hw.image.disks import Partition, card, ext4, used_mib, vfat
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


@dataclass(frozen=True, slots=True)
class Image:
    """The files of one build."""

    name: str

    @property
    def raw(self) -> Path:
        return OUT / f"{self.name}.img"

    @property
    def packed(self) -> Path:
        return OUT / f"{self.name}.img.xz"


def image() -> Image:
    return Image(f"intercomd-{__version__}-arm64")


def main() -> int:
    parser = argparse.ArgumentParser("python -m hw.image", description="Build the card of a Raspberry Pi.")
    parser.add_argument("--fast", action="store_true", help="pack little, for tests")
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
    pack(built, "-1" if options.fast else "-6")
    _tell(built, time.monotonic() - began_s, kept)
    return 0


def build() -> Image:
    """The unpacked image and its package list."""
    built = image()
    tree = trees.made(recipes.CARD)
    OUT.mkdir(parents=True, exist_ok=True)
    work = OUT / f"work.{os.getpid()}"
    # Of the content: the same build has the same partition ids, another one cannot be taken for it.
    disk_id = int(hashlib.sha256(f"{built.name} {recipes.CARD.key}".encode()).hexdigest()[:8], 16)
    try:
        with trees.laid_over(tree, work) as merged:
            furnishing.furnish(merged, disk_id)
            _partitions(merged, work, built, disk_id)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _list(tree, built)
    return built


def _partitions(merged: Path, work: Path, built: Image, disk_id: int) -> None:
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


def pack(built: Image, level: str) -> None:
    """xz, sha256, and what Raspberry Pi Imager reads."""
    with step(f"packing {built.packed.name}") as told:
        told.run(["xz", "--keep", "--force", "--threads=0", level, str(built.raw)], limit_s=3600)
        packed, raw = _sha256(built.packed), _sha256(built.raw)
        built.packed.with_name(built.packed.name + ".sha256").write_text(f"{packed}  {built.packed.name}\n")
        entry = {
            "name": f"Intercom station {__version__}",
            "description": "Debian 13 with intercomd, for Raspberry Pi 3, 4 and Zero 2 W",
            "url": built.packed.name,
            "icon": "",
            "extract_size": built.raw.stat().st_size,
            "extract_sha256": raw,
            "image_download_size": built.packed.stat().st_size,
            "image_download_sha256": packed,
            "release_date": time.strftime("%Y-%m-%d"),
            "init_format": "none",
            "devices": ["pi3-64bit", "pi4-64bit"],
        }
        listed = json.dumps({"os_list": [entry]}, indent=1) + "\n"
        (OUT / f"{built.name}.imager.json").write_text(listed)


def _list(tree: Path, built: Image) -> None:
    lines = ["# Debian: package, version, architecture, source package, its version", trees.package_list(tree)]
    lines += [
        "# Python, in /opt/intercomd",
        "\n".join(wheels.pins()),
        f"intercomd=={__version__} ({furnishing.version()})",
    ]
    (OUT / f"{built.name}.packages.txt").write_text("\n".join(lines) + "\n")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _tell(built: Image, taken_s: float, kept: bool) -> None:
    size_mib = built.packed.stat().st_size / (1 << 20)
    print(
        f"{built.packed}: {size_mib:.0f} MiB packed, {built.raw.stat().st_size >> 20} MiB on the card, {taken_s:.0f} s"
    )
    figures = {
        "packed_mib": round(size_mib, 1),
        "card_mib": built.raw.stat().st_size >> 20,
        "build_s": round(taken_s, 1),
        "tree_kept": kept,
        "tree_s": recipes.CARD.took_s,
    }
    FIGURES.write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    sys.exit(main())
