"""What Raspberry Pi OS has that Debian has not, as a layer over Debian's tree: as far as the installer can meet it.

Known from its packages (raspberrypi-sys-mods, pi-gen), not taken from them: its own kernel, firmware, sound server and
Python packages are not here.
"""

import subprocess
from pathlib import Path

USER, GPIO_GID = "resident", 986
CONFIGURATION = "# kept from an earlier installation\n"
SOUND = 'pcm.!default { type hw card "Device" }\n'
VOLATILE = "/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf"
FILES = {
    "/etc/os-release": 'PRETTY_NAME="Raspbian GNU/Linux 13 (trixie)"\nID=raspbian\nID_LIKE=debian\nVERSION_ID="13"\n',
    "/etc/rpi-issue": "Raspberry Pi reference\n",
    "/etc/asound.conf": SOUND,
    "/etc/intercomd/intercomd.toml": CONFIGURATION,
    "/etc/udev/rules.d/99-com.rules": 'SUBSYSTEM=="gpio", GROUP="gpio", MODE="0660"\n',
    "/boot/firmware/config.txt": "dtparam=audio=on\n",
    "/boot/firmware/cmdline.txt": "console=tty1 root=PARTUUID=0-02 rootfstype=ext4 rootwait\n",
    # Logs in memory, to spare the card.
    VOLATILE: "[Journal]\nStorage=volatile\n",
}
USERS = {
    "passwd": f"{USER}:x:1000:1000:,,,:/home/{USER}:/bin/bash\n",
    "group": f"{USER}:x:1000:\ngpio:x:{GPIO_GID}:{USER}\n",
    "shadow": f"{USER}:!:20000:0:99999:7:::\n",
}


def raspberry_pi_os(folder: Path, root: Path, installed: Path) -> Path:
    """The layer in `folder`, for a machine over `root`. The virtual environment is the one of `installed`: filling
    another one needs nothing of the system."""
    for name, text in FILES.items():
        file = folder / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, lines in USERS.items():
        file = folder / "etc" / name
        file.write_text((root / "etc" / name).read_text() + lines)
        file.chmod((root / "etc" / name).stat().st_mode)
    (folder / "opt").mkdir()
    # Links: nothing is ever written to a layer.
    copy = ["cp", "--archive", "--link", str(installed / "opt" / "intercomd"), str(folder / "opt")]
    subprocess.run(copy, check=True, timeout=120)
    return folder
