"""The disks of the machine under test: Debian with the shipped kernel, the station installed as on the card, a second
station beside it, and a state partition of its own. Built once per content and kept under build/vm."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hw.image import ROOT, recipes, trees, wheels
from hw.image.disks import ext4, used_mib
from hw.image.progress import step

CACHE = ROOT / "build" / "vm"
GUEST = Path(__file__).parent / "guest"
LIB = "usr/local/lib/intercomd-vm"
UNITS = "usr/lib/systemd/system"
STATE_LABEL = "intercom-state"
STATE_MIB = 128
SPARE_MIB = 256

# The state partition by its place, as on the card: libblkid of Debian 13 (2.41) checks a superblock's checksum, so one
# that is torn has no label, and a mount by label would wait for it and give up.
FSTAB = """LABEL=intercom-root / ext4 defaults,noatime,errors=remount-ro 0 1
/dev/vdb /var/lib/intercom-state ext4 nodev,nosuid,noexec,noatime,errors=remount-ro,x-systemd.device-timeout=240s 0 2
/var/lib/intercom-state/intercomd /var/lib/intercomd none bind 0 0
"""
APPEND = "root=LABEL=intercom-root rw console=ttyS0 quiet fsck.repair=yes mitigations=off panic=0 net.ifnames=0"
# Of no use here; each costs seconds of an emulated start.
IDLE = ("getty@tty1.service", "serial-getty@ttyS0.service", "e2scrub_reap.service", "e2scrub_all.timer",
        "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer",
        "systemd-logind.service", "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service",
        "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "sys-kernel-debug.mount",
        "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "dev-hugepages.mount", "dev-mqueue.mount",
        "systemd-user-sessions.service")  # fmt: skip
# Ours that reach the machine: a change of theirs makes its disk anew.
INPUTS = ("intercomd", "systemd", "hw/boards", "hw/asound", "hw/wiring", "hw/image", "tests/vm/guest", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Disks:
    """`root` and `state` are raw images that nobody writes to: machines get qcow2 layers over them."""

    root: Path
    state: Path
    kernel: Path
    initrd: Path
    release: str


def built(*, keep: bool = False) -> Disks:
    """The disks, made now if they are not kept. `keep`: those that are there, whatever has changed since."""
    tree = trees.made(recipes.MACHINE)
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    release = kernel.name.removeprefix("vmlinuz-")
    kept = sorted(CACHE.glob("disks-*")) if keep else []
    folder = kept[0] if kept else CACHE / f"disks-{_fingerprint()}"
    disks = Disks(folder / "root.ext4", folder / "state.ext4", kernel, tree / "boot" / f"initrd.img-{release}", release)
    if not folder.is_dir():
        for old in CACHE.glob("disks-*"):
            shutil.rmtree(old)
        _build(tree, disks)
    return disks


def _build(tree: Path, disks: Disks) -> None:
    folder = disks.root.parent
    fresh = folder.with_name(folder.name.replace("disks-", "new-") + f".{os.getpid()}")
    try:
        (fresh / "work").mkdir(parents=True)
        with trees.laid_over(tree, fresh / "work") as merged:
            wheels.fill(merged, "amd64")
            _furnish(merged)
            with step("disks of the machine") as told:
                ext4(told, fresh / "root.ext4", "intercom-root", used_mib(merged) + SPARE_MIB, merged)
                state = fresh / "state"
                (state / "intercomd").mkdir(parents=True)
                ext4(told, fresh / "state.ext4", STATE_LABEL, STATE_MIB, state)
        shutil.rmtree(fresh / "work")
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _furnish(merged: Path) -> None:
    """Our files, as `systemd/install` lays them, and what makes a machine of it."""
    environ = os.environ | {
        "DESTDIR": str(merged), "PACKAGE": "none", "SERVICES": "intercomd-hub", "SYSTEMD_VERSION": "257",
    }  # fmt: skip
    subprocess.run([ROOT / "systemd" / "install"], check=True, env=environ, timeout=120, stdout=subprocess.DEVNULL)
    for name, place, mode in (
        ("agent.py", f"{LIB}/agent.py", 0o644),
        ("edges.py", f"{LIB}/edges.py", 0o644),
        ("hardware", f"{LIB}/hardware", 0o755),
        ("agent.service", f"{UNITS}/vm-agent.service", 0o644),
        ("hardware.service", f"{UNITS}/vm-hardware.service", 0o644),
        ("door.toml", "etc/intercomd/intercomd.toml", 0o644),
        ("flat.toml", "etc/intercomd/flat.toml", 0o644),
        ("asound.conf", "etc/asound.conf", 0o644),
    ):
        target = merged / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(GUEST / name, target)
        target.chmod(mode)
    _second_station(merged)
    written = {
        "etc/fstab": FSTAB,
        "etc/hostname": "vm\n",
        "etc/systemd/system.conf.d/watchdog.conf": "[Manager]\nRuntimeWatchdogSec=10\n",
        "etc/modules-load.d/watchdog.conf": "i6300esb\n",
        "etc/sysctl.d/90-vm.conf": "kernel.panic=0\nkernel.sysrq=1\n",
    }
    for name, text in written.items():
        (merged / name).parent.mkdir(parents=True, exist_ok=True)
        (merged / name).write_text(text)
    # The stations are enabled once they have a token (household.enrol).
    for unit in ("vm-agent", "vm-hardware"):
        wants = merged / "etc/systemd/system/sysinit.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / f"{unit}.service").symlink_to(f"/{UNITS}/{unit}.service")
    for unit in IDLE:
        (merged / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for folder in ("var/lib/intercomd", "var/lib/intercom-state"):
        (merged / folder).mkdir(parents=True, exist_ok=True)


def _second_station(merged: Path) -> None:
    """The shipped unit once more, under another name: state, socket, credential and configuration of its own."""
    text = (merged / UNITS / "intercomd.service").read_text()
    for old, new in (
        ("StateDirectory=intercomd\n", "StateDirectory=intercomd-flat\n"),
        ("RuntimeDirectory=intercomd\n", "RuntimeDirectory=intercomd-flat\n"),
        ("/etc/intercomd/intercomd.toml", "/etc/intercomd/flat.toml"),
        ("hub-token:intercomd.hub-token", "hub-token:flat.hub-token"),
        # The fault's program tells of the door's configuration.
        ("OnFailure=intercomd-fault.service\n", ""),
        ("Conflicts=intercomd-fault.service\n", ""),
    ):
        if old not in text:
            raise SystemExit(f"test-vm: systemd/intercomd.service has no {old.strip()!r} any more: tests/vm/disks.py")
        text = text.replace(old, new)
    (merged / UNITS / "intercomd-flat.service").write_text(text)


def layer(base: Path, over: Path) -> Path:
    """A qcow2 that shows `base` and keeps what is written."""
    over.unlink(missing_ok=True)
    kind = "qcow2" if base.suffix == ".qcow2" else "raw"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", kind, str(over)]
    subprocess.run(command, check=True, timeout=60)
    return over


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{recipes.MACHINE.key}{recipes.MAKER.key}".encode())
    for name in INPUTS:
        place = ROOT / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:12]
