"""The card as it is published: packed, with its checksum and the list that Raspberry Pi Imager reads."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hw.image.progress import step
from intercomd import __version__

LEVEL, FAST_LEVEL = 1, 0
"""Of xz, on 200 MiB of a root: 0 takes 11 s for 26 %, 1 takes 24 s for 24 %, 3 takes 45 s for 23 %."""
DEVICES = ("pi3-64bit", "pi4-64bit")
"""Imager's names; the Zero 2 W counts as a Pi 3 there."""
LIMIT_S = 3600
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Published:
    """The files that belong to an image."""

    raw: Path

    @property
    def packed(self) -> Path:
        return self.raw.with_name(self.raw.name + ".xz")

    @property
    def checksum(self) -> Path:
        """As `sha256sum -c` reads it."""
        return self.packed.with_name(self.packed.name + ".sha256")

    @property
    def listed(self) -> Path:
        return self.raw.with_suffix(".imager.json")


def pack(made: Published, level: int, address: str = "") -> None:
    """xz, checksum and list. `address`: where the packed file will be found, a folder's URL; this machine's file
    unless it is given."""
    with step(f"packing {made.packed.name} (xz -{level})") as told:
        # What a former build has left would not belong to this image.
        for file in (made.packed, made.checksum, made.listed):
            file.unlink(missing_ok=True)
        told.run(["xz", "--keep", "--threads=0", f"-{level}", str(made.raw)], limit_s=LIMIT_S)
        packed = digest(made.packed)
        made.checksum.write_text(f"{packed}  {made.packed.name}\n")
        made.listed.write_text(json.dumps({"os_list": [entry(made, packed, address)]}, indent=1) + "\n")


def entry(made: Published, packed: str, address: str) -> dict[str, object]:
    """As raspberrypi/rpi-imager's os-list-schema.json has it. Imager takes whole addresses only."""
    return {
        "name": f"Intercom station {__version__}",
        "description": "Debian 13 with intercomd, for Raspberry Pi 3, 4 and Zero 2 W",
        "icon": "",
        "url": f"{address.rstrip('/')}/{made.packed.name}" if address else made.packed.resolve().as_uri(),
        "extract_size": made.raw.stat().st_size,
        "extract_sha256": digest(made.raw),
        "image_download_size": made.packed.stat().st_size,
        "image_download_sha256": packed,
        "release_date": time.strftime("%Y-%m-%d", time.gmtime()),
        # Imager's own questions (name, Wi-Fi, SSH) have no effect here: it shall not ask them.
        "init_format": "none",
        "devices": list(DEVICES),
    }


def wrong(made: Published) -> list[str]:
    """What is not true of the published files, in words: the packed one is unpacked for it."""
    try:
        told = json.loads(made.listed.read_text())["os_list"][0]
        checksum, name = made.checksum.read_text().split()
    except (OSError, ValueError, LookupError) as error:
        return [f"{made.raw.name}: a file of it cannot be read: {error}"]
    size, unpacked = _unpacked(made.packed)
    found = {
        "extract_size": size,
        "extract_sha256": unpacked,
        "image_download_size": made.packed.stat().st_size,
        "image_download_sha256": digest(made.packed),
    }
    mistakes = [f"{made.listed.name}: {key} is {told.get(key)}, found {value}" for key, value in found.items()
                if told.get(key) != value]  # fmt: skip
    if unpacked != digest(made.raw):
        mistakes.append(f"{made.packed.name} is not {made.raw.name}")
    if (checksum, name) != (found["image_download_sha256"], made.packed.name):
        mistakes.append(f"{made.checksum.name} says {checksum} of {name}")
    if told.get("url", "").rpartition("/")[2] != made.packed.name:
        mistakes.append(f"{made.listed.name}: url is {told.get('url')}")
    return mistakes


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _unpacked(packed: Path) -> tuple[int, str]:
    """Size and checksum of what xz itself makes of it."""
    sha, size = hashlib.sha256(), 0
    for chunk in _chunks(packed):
        sha.update(chunk)
        size += len(chunk)
    return size, sha.hexdigest()


def _chunks(packed: Path) -> Iterator[bytes]:
    with subprocess.Popen(["xz", "--decompress", "--stdout", str(packed)], stdout=subprocess.PIPE) as xz:
        assert xz.stdout is not None
        while chunk := xz.stdout.read(CHUNK_BYTES):
            yield chunk
    if xz.returncode:
        raise SystemExit(f"image: {packed} cannot be unpacked (xz ended with {xz.returncode})")
