"""What is laid over the card's tree of Debian: the station, read-only root, state partition, network, identity."""

import os
import shutil
import subprocess
from pathlib import Path

from hw.image import ROOT, wheels
from hw.image.progress import step

FILES = Path(__file__).parent / "card"
UNITS = "usr/lib/systemd/system"
STATE_FOLDERS = ("intercomd", "intercomd-hub", "journal", "secrets")
LIVE = "/run/intercomd-card"
# Not of use on a station, and each takes memory, time or writes.
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "getty@tty1.service", "systemd-firstboot.service", "wpa_supplicant.service",
)  # fmt: skip
WANTED = {
    "sysinit": ("intercomd-card",),
    "multi-user": ("systemd-networkd", "systemd-resolved", "ssh", "intercomd-pair"),
}
TEXTS = {
    "etc/hostname": "intercom\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
    # Empty: systemd makes one up at each boot, in memory (machine-id(5)).
    "etc/machine-id": "",
    "etc/systemd/system.conf.d/50-intercomd.conf": "[Manager]\nRuntimeWatchdogSec=10\nRebootWatchdogSec=2min\n",
    "etc/systemd/network/20-wired.network": "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\nMulticastDNS=yes\n"
    "\n[Link]\nRequiredForOnline=no\n",
    # A cable is the better way where there are both.
    "etc/systemd/network/25-wireless.network": "[Match]\nName=wl*\n\n[Network]\nDHCP=yes\nMulticastDNS=yes\n"
    "IgnoreCarrierLoss=3s\n\n[Link]\nRequiredForOnline=no\n\n[DHCPv4]\nRouteMetric=2000\n",
    # Debian 13 switches it off for all links, whatever a link's own file says (resolved.conf(5)): hub.local needs it.
    "etc/systemd/resolved.conf.d/50-intercomd.conf": "[Resolve]\nMulticastDNS=yes\nLLMNR=no\n",
    # When there is one: a unit of multi-user.target would wait for it, and with it the station, on a Pi without Wi-Fi
    # for as long as systemd waits for a device.
    "etc/udev/rules.d/60-intercomd-wifi.rules": 'SUBSYSTEM=="net", KERNEL=="wlan0", '
    'ENV{SYSTEMD_WANTS}+="wpa_supplicant@wlan0.service"\n',
    "etc/systemd/system/wpa_supplicant@wlan0.service.d/card.conf": "[Unit]\n"
    f"ConditionPathExists={LIVE}/wpa_supplicant.conf\n",
    "etc/systemd/system/ssh.service.d/card.conf": f"[Unit]\nConditionPathExists={LIVE}/authorized_keys\n",
    "etc/ssh/sshd_config.d/card.conf": "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    f"PermitRootLogin prohibit-password\nAuthorizedKeysFile {LIVE}/authorized_keys\n"
    "HostKey /var/lib/intercom-state/ssh/ssh_host_ed25519_key\n",
    # Whatever a USB card calls itself, asound.conf finds it under one name. A second one keeps its own.
    "etc/udev/rules.d/60-intercomd-sound.rules": 'SUBSYSTEM=="sound", KERNEL=="card*", SUBSYSTEMS=="usb", '
    'ATTR{id}="Speakerphone"\n',
    "etc/modprobe.d/intercomd.conf": "# The HDMI outputs are no loudspeakers of a station.\nblacklist vc4\n",
    # A kernel that has crashed is reset by the watchdog; this is the second way.
    "etc/sysctl.d/50-intercomd.conf": "kernel.panic=10\n",
}
LINKS = {
    # SSH by sockets of its own making (AF_VSOCK); there is one SSH here, and only with a key from the card.
    "etc/systemd/system-generators/systemd-ssh-generator": "/dev/null",
    "etc/intercomd/intercomd.toml": "/boot/firmware/intercomd.toml",
    "etc/asound.conf": f"{LIVE}/asound.conf",
    "etc/wpa_supplicant/wpa_supplicant-wlan0.conf": f"{LIVE}/wpa_supplicant.conf",
    "etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf",
}


def furnish(tree: Path, disk_id: int) -> None:
    """Lay everything of ours over the tree."""
    wheels.fill(tree, "arm64")
    with step("the station on the card") as told:
        environ = os.environ | {
            "DESTDIR": str(tree), "PACKAGE": "none", "SERVICES": "intercomd", "SYSTEMD_VERSION": "257",
        }  # fmt: skip
        told.run([str(ROOT / "systemd" / "install")], environ=environ)
        told.run(["systemd-sysusers", f"--root={tree}"])
        _units(tree)
        _texts(tree, disk_id)
        for folder in ("var/lib/intercom-state", "boot/firmware"):
            (tree / folder).mkdir(parents=True, exist_ok=True)
        for key in (tree / "etc/ssh").glob("ssh_host_*"):
            key.unlink()  # every card would have the same


def _units(tree: Path) -> None:
    for name in ("card", "pair"):
        shutil.copy(FILES / f"intercomd-{name}.service", tree / UNITS / f"intercomd-{name}.service")
        _put(tree / f"usr/lib/intercomd/{name}.py", (FILES / f"{name}.py").read_text())
    for target, services in WANTED.items():
        for service in services:
            _link(tree / f"etc/systemd/system/{target}.target.wants/{service}.service", f"/{UNITS}/{service}.service")
    for unit in MASKED:
        _link(tree / "etc/systemd/system" / unit, "/dev/null")


def _texts(tree: Path, disk_id: int) -> None:
    for name, text in TEXTS.items():
        _put(tree / name, text)
    for name, target in LINKS.items():
        _link(tree / name, target)
    groups = dict(line.split(":")[0:3:2] for line in (tree / "etc/group").read_text().splitlines())
    fstab = (FILES / "fstab.in").read_text().replace("@ID@", f"{disk_id:08x}")
    _put(tree / "etc/fstab", fstab.replace("gid=intercom,", f"gid={groups['intercom']},"))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def boot_files(tree: Path, folder: Path, disk_id: int) -> None:
    """What the FAT partition holds: what raspi-firmware has put together, our command line, the installer's files."""
    shutil.copytree(tree / "boot" / "firmware", folder, dirs_exist_ok=True)
    # fsck.repair: crash tests found torn superblocks, which a check without it leaves to a person at a keyboard.
    words = (
        f"root=PARTUUID={disk_id:08x}-02 ro rootwait console=tty1 fsck.repair=yes net.ifnames=0 panic=10 quiet"
        " systemd.show_status=no"
    )
    (folder / "cmdline.txt").write_text(words + "\n")
    for name in ("intercomd.toml", "wifi.toml.example", "READ-ME.txt"):
        # Windows' editors of old need both line ends.
        (folder / name).write_text((FILES / name).read_text(), newline="\r\n")


def state_files(folder: Path) -> None:
    for name in STATE_FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "secrets").chmod(0o700)


def version() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    return told.stdout.strip() or "unknown"
