"""The shipped image in QEMU, unchanged but for the files of an installer. It has no way in, so it is watched from
outside: by its serial console, to which the journal is told, and by its FAT partition."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hw.image.disks import FIRST_MIB

CARD_GIB = 4
LOOK_S = 0.5
# What is told on the console beside what the image has set: the journal. And a sound card, for QEMU has none that
# records; the kernel's own loops back.
WATCHED = "systemd.journald.forward_to_console=1 systemd.journald.max_level_console=info modules-load=snd-aloop"


REVISION, SERIAL = "a02082", "00000000c0ffee42"
"""Of a Pi 3 model B, as the firmware tells them."""


class BootError(Exception):
    """The image did not do it in time; the text has the end of its console."""


@dataclass(frozen=True, slots=True)
class Board:
    """A computer that QEMU makes. `consoles`: serial lines, the last of which is the console's."""

    name: str
    machine: tuple[str, ...]
    console: str
    drive: tuple[str, ...]
    device_tree: str = ""
    serials: int = 1
    append: str = ""


VIRT = Board(
    "virt",
    ("-M", "virt", "-cpu", "cortex-a53", "-m", "1024", "-smp", "2", "-device", "virtio-rng-pci",
     "-device", "virtio-net-pci,netdev=net"),
    "ttyAMA0",
    ("-drive", "file={card},format=raw,if=none,id=card", "-device", "virtio-blk-pci,drive=card"),
    # A radio, with nobody to talk to.
    append="modules-load=mac80211_hwsim",
)  # fmt: skip
PI_3 = Board(
    "raspi3b",
    # On USB, as a Pi 3's own; b8:27:eb is Raspberry Pi's, and with a local address Linux would call it usb0.
    ("-M", "raspi3b", "-device", "usb-net,netdev=net,mac=b8:27:eb:00:00:01"),
    # The first UART belongs to Bluetooth (bcm2837-rpi-3-b.dts).
    "ttyS1,115200",
    ("-drive", "file={card},format=raw,if=sd"),
    "bcm2837-rpi-3-b.dtb",
    serials=2,
    # QEMU's Pi is reset at once when its watchdog is armed (hw/misc/bcm2835_powermgt.c has no timer).
    append="systemd.watchdog_sec=off",
)


class Card:
    """A copy of the image, as if written to a card of 4 GB. Files of its FAT partition by name."""

    def __init__(self, image: Path, place: Path) -> None:
        self.path = place
        subprocess.run(["cp", "--sparse=always", image, place], check=True, timeout=300)
        with place.open("r+b") as file:
            file.truncate(CARD_GIB << 30)

    @property
    def _fat(self) -> str:
        return f"{self.path}@@{FIRST_MIB}M"

    def put(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            command = ["mcopy", "-o", "-i", self._fat, "-", f"::{name}"]
            subprocess.run(command, input=text.encode(), check=True, timeout=30, capture_output=True)

    def take(self, name: str) -> bytes | None:
        """What is in the file; None where there is none. Also while the machine runs."""
        command = ["mcopy", "-n", "-i", self._fat, f"::{name}", "-"]
        done = subprocess.run(command, check=False, timeout=60, capture_output=True)
        return done.stdout if done.returncode == 0 else None

    def names(self) -> list[str]:
        command = ["mdir", "-b", "-i", self._fat, "::"]
        told = subprocess.run(command, check=True, timeout=30, capture_output=True, text=True).stdout
        return [line.removeprefix("::/").strip() for line in told.splitlines()]


class Boot:
    """A board that runs from this card. Leaving the block cuts its power."""

    def __init__(self, board: Board, card: Card, folder: Path, *, heard: Path | None = None) -> None:
        """`heard`: there is a USB loudspeaker, and what it plays goes to this file (`voice` judges it)."""
        folder.mkdir(parents=True, exist_ok=True)
        self.console = folder / f"{board.name}.txt"
        self.console.unlink(missing_ok=True)
        kernel, initrd = _latest(card, "vmlinuz-", folder), _latest(card, "initrd.img-", folder)
        shipped = (card.take("cmdline.txt") or b"").decode().strip().replace("console=tty1", "")
        command = ["qemu-system-aarch64", *board.machine, "-display", "none", "-nodefaults", "-no-reboot",
                   "-netdev", "user,id=net",
                   "-kernel", str(kernel), "-initrd", str(initrd),
                   "-append", f"{shipped} console={board.console} {WATCHED} {board.append}"]  # fmt: skip
        command += ["-serial", "null"] * (board.serials - 1) + ["-serial", f"file:{self.console}"]
        command += [word.format(card=card.path) for word in board.drive]
        if heard is not None:
            heard.unlink(missing_ok=True)
            command += ["-audiodev", f"wav,id=heard,path={heard},out.frequency=48000", "-device", "qemu-xhci",
                        "-device", "usb-audio,audiodev=heard"]  # fmt: skip
        if board.device_tree:
            command += ["-dtb", str(_device_tree(card, board.device_tree, folder))]
        self.started_s = time.monotonic()
        with (folder / f"{board.name}.qemu.txt").open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def until(self, text: str, limit_s: float) -> float:
        """Until the console says it; seconds since the power was switched on. Raises `BootError`."""
        return self.wait_for(lambda: text in self.said(), limit_s, f"no {text!r} on the console")

    def wait_for(self, reached: Callable[[], bool], limit_s: float, wrong: str) -> float:
        """Seconds since the power was switched on, at most `limit_s`. Raises `BootError`, which says what is wrong."""
        while not reached():
            self._watch(limit_s, wrong)
        return time.monotonic() - self.started_s

    def until_file(self, card: Card, name: str, holds: str, limit_s: float) -> str:
        """Until a file of the FAT partition holds a text. Raises `BootError`."""
        while holds not in (text := (card.take(name) or b"").decode(errors="replace")):
            self._watch(limit_s, f"no {holds!r} in {name}")
        return text

    def said(self) -> str:
        return self.console.read_bytes().decode(errors="replace") if self.console.exists() else ""

    def _watch(self, limit_s: float, wrong: str) -> None:
        if self._process.poll() is not None:
            raise BootError(f"QEMU has ended: {wrong}; {self.said()[-1500:]}")
        if time.monotonic() - self.started_s > limit_s:
            raise BootError(f"{wrong} within {limit_s:.0f} s; the last on it: {self.said()[-1500:]}")
        time.sleep(LOOK_S)


def _device_tree(card: Card, name: str, folder: Path) -> Path:
    """With what a Pi's firmware writes into it, and QEMU does not: which board it is (gpiozero asks) and its number."""
    place = folder / name
    place.write_bytes(card.take(name) or b"")
    _put(place, "-c", node="/system")
    _put(place, "-t", "x", node="/system", words=("linux,revision", REVISION))
    _put(place, "-t", "s", node="/", words=("serial-number", SERIAL))
    return place


def _put(tree: Path, *options: str, node: str, words: tuple[str, ...] = ()) -> None:
    subprocess.run(["fdtput", *options, str(tree), node, *words], check=True, timeout=30)


def _latest(card: Card, prefix: str, folder: Path) -> Path:
    """The file of the partition that begins so: a kernel's version is in its name."""
    found = sorted(name for name in card.names() if name.startswith(prefix))
    if not found:
        raise BootError(f"the FAT partition has no {prefix}*: {', '.join(card.names())}")
    place = folder / prefix.rstrip("-")
    place.write_bytes(card.take(found[-1]) or b"")
    return place
