"""At each boot, before anything of intercomd: takes what an installer wrote to the card's FAT partition.

Only the standard library, and each part by itself: a mistake in one file keeps no other from being used. A mistake is
written beside its file (NAME-error.txt) and to the journal. intercomd.toml is not read here: the station does that, and
intercomd-fault.service tells of its mistakes.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BOOT = Path("/boot/firmware")
STATE = Path("/var/lib/intercom-state")
RUN = Path("/run/intercomd-card")
CREDENTIALS = Path("/run/credstore")
"""Where systemd looks for them (systemd.exec(5)); on the state partition they have the same names."""
HUB_TOKEN = "intercomd.hub-token"  # noqa: S105  (a file's name)
EXAMPLE_SOUND = Path("/usr/share/intercomd/asound/usb-speakerphone.conf")
TREE = Path("/sys/firmware/devicetree/base")
TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}")
PAIRING = re.compile(r"intercom-pairing +https?://[!-~]+ +[!-~]+ +[!-~]+")
KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-\S+|sk-\S+) [A-Za-z0-9+/=]+( .*)?")
BELIEVED_S = 20 * 365 * 86_400.0
"""So old may an image be; a file from further in the future was written by another wrong clock."""
WIFI_KEYS = {"ssid": str, "password": str, "country": str, "hidden": bool}


class Mistake(Exception):
    """What is wrong with a file, and what is allowed, for whoever wrote it."""


def serial() -> str:
    """The machine's own number, 8 digits: a Pi has it in its device tree."""
    with suppress(OSError):
        number = (TREE / "serial-number").read_text().strip("\0\n ").lower()
        if re.fullmatch("[0-9a-f]{8,16}", number):
            return number[-8:]
    addresses = sorted(Path("/sys/class/net").glob("*/address"))
    text = " ".join(path.read_text().strip() for path in addresses if path.parent.name != "lo")
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def name_host() -> None:
    Path("/proc/sys/kernel/hostname").write_text(f"intercom-{serial()}\n")


def set_clock() -> None:
    """A Pi has no clock that runs without power: it begins when Debian's systemd was built, at which the hub's
    certificate is not valid yet. It is later than when the installer's files and the journal were written; where there
    is a time server, systemd-timesyncd does the rest. FAT has local time (half a day off, at most)."""
    now_s = time.time()
    written = [now_s]
    for file in (*BOOT.glob("*.t*"), *(STATE / "journal").rglob("*.journal")):
        with suppress(OSError):
            written.append(file.stat().st_mtime)
    latest_s = max(at_s for at_s in written if at_s < now_s + BELIEVED_S)
    if latest_s > now_s:
        time.clock_settime(time.CLOCK_REALTIME, latest_s)


def keep_journal() -> None:
    """The root is read-only, so each boot has an identity of its own, and journald one folder for each: all of them are
    the same folder of the state partition, so that its limits count."""
    identity = Path("/etc/machine-id").read_text().strip()
    place = Path("/var/log/journal") / identity
    kept = STATE / "journal"
    kept.mkdir(exist_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    if not os.path.ismount(place):
        subprocess.run(["mount", "--bind", kept, place], check=True, timeout=20)


def take_pairing(file: Path) -> None:
    """The token, or the hub's line by which one is got (pair.py does that), moves to the state partition: a card reader
    would find it on the FAT one. What was paired before works until then."""
    secrets = STATE / "secrets"
    try:
        if file.exists():
            _take_secret(file, secrets)
    finally:
        for kept in secrets.glob("intercomd.*"):
            if not kept.name.endswith(".new"):
                CREDENTIALS.mkdir(mode=0o700, exist_ok=True)
                _replace(CREDENTIALS / kept.name, kept.read_text())


def _take_secret(file: Path, secrets: Path) -> None:
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    secret = lines[0] if len(lines) == 1 else ""
    if not TOKEN.fullmatch(secret) and not PAIRING.fullmatch(secret):
        raise Mistake(
            "one line is needed: what the hub shows for pairing this station (intercom-pairing ...), or the token that "
            "`intercomd hub add-station NAME` prints"
        )
    secrets.mkdir(mode=0o700, exist_ok=True)
    if TOKEN.fullmatch(secret):
        # Another hub's, perhaps: what a pairing has left goes.
        for former in (*secrets.glob("intercomd.*"), secrets / "pairing"):
            former.unlink(missing_ok=True)
        _replace(secrets / HUB_TOKEN, secret + "\n")
    else:
        _replace(secrets / "pairing", secret + "\n")
    file.unlink()
    os.sync()


def take_wifi(file: Path) -> None:
    if not file.exists():
        return
    try:
        said = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f'not TOML: {error}; each line as in ssid = "name of the network"') from error
    _replace(RUN / "wpa_supplicant.conf", wifi(said))


def wifi(said: dict[str, object]) -> str:
    """What wpa_supplicant reads (wpa_supplicant.conf(5)). Raises `Mistake`."""
    for key, value in said.items():
        if key not in WIFI_KEYS:
            raise Mistake(f"unknown key {key}; allowed are {', '.join(WIFI_KEYS)}")
        if not isinstance(value, WIFI_KEYS[key]):
            raise Mistake(f"{key} must be {'true or false' if WIFI_KEYS[key] is bool else 'text in quotes'}")
    ssid, password, country = (str(said.get(key, "")) for key in ("ssid", "password", "country"))
    if not 1 <= len(ssid.encode()) <= 32:
        raise Mistake("ssid is missing, or longer than 32 bytes: the network's name")
    if password and not 8 <= len(password.encode()) <= 63:
        raise Mistake("password has 8 to 63 characters; none: leave it out")
    if not re.fullmatch("[A-Z]{2}", country):
        raise Mistake('country is missing: two capital letters, as country = "DE": it says which channels are allowed')
    lines = [f"ssid={ssid.encode().hex()}", f"scan_ssid={int(bool(said.get('hidden')))}"]
    if password:
        # The key as IEEE 802.11 derives it: no quoting to get wrong. SAE (WPA3) needs the password itself.
        derived = hashlib.pbkdf2_hmac("sha1", password.encode(), ssid.encode(), 4096, 32).hex()
        lines += [f"psk={derived}", "key_mgmt=WPA-PSK WPA-PSK-SHA256 SAE", "ieee80211w=1"]
        if '"' not in password and "\n" not in password:
            lines.append(f'sae_password="{password}"')
    else:
        lines.append("key_mgmt=NONE")
    inner = "".join(f"\t{line}\n" for line in lines)
    return f"ctrl_interface=/run/wpa_supplicant\ncountry={country}\nnetwork={{\n{inner}}}\n"


def take_keys(file: Path) -> None:
    """SSH only for whom this file names, and only by key; without it there is no SSH at all."""
    if not file.exists():
        return
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    for number, line in enumerate(lines, 1):
        if not KEY.fullmatch(line):
            raise Mistake(f"key {number} is no public key: a line of a .pub file, as `ssh-ed25519 AAAA... name`")
    if not lines:
        return
    host_key = STATE / "ssh" / "ssh_host_ed25519_key"
    if not host_key.exists():
        host_key.parent.mkdir(mode=0o700, exist_ok=True)
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(host_key)]
        subprocess.run(made, check=True, timeout=60, stdin=subprocess.DEVNULL)
    _replace(RUN / "authorized_keys", "\n".join(lines) + "\n")


def take_sound(file: Path) -> None:
    # Its own mode: on the FAT partition a file is for root and the station only.
    shutil.copyfile(file if file.exists() else EXAMPLE_SOUND, RUN / "asound.conf")
    (RUN / "asound.conf").chmod(0o644)


PARTS: tuple[tuple[str, Callable[[Path], None]], ...] = (
    ("pairing.txt", take_pairing),
    ("wifi.toml", take_wifi),
    ("authorized_keys", take_keys),
    ("asound.conf", take_sound),
)


def main() -> int:
    RUN.mkdir(mode=0o755, exist_ok=True)
    for always in (name_host, set_clock, keep_journal):
        _attempt(always.__name__, always)
    for name, take in PARTS:
        file = BOOT / name
        report = BOOT / f"{file.stem}-error.txt"
        wrong = _attempt(name, lambda take=take, file=file: take(file))  # type: ignore[misc]
        with suppress(OSError):
            if wrong:
                report.write_text(f"{name}: {wrong}\r\n", newline="")
            else:
                report.unlink(missing_ok=True)
    return 0


def _attempt(what: str, part: Callable[[], None]) -> str:
    """What went wrong, in words; the journal has it too."""
    try:
        part()
    except Mistake as mistake:
        wrong = str(mistake)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        wrong = f"cannot be used: {error}"
    else:
        return ""
    # <3>: the journal's priority err (sd-daemon(3)).
    print(f"<3>{what}: {wrong}", file=sys.stderr)
    return wrong


def _replace(path: Path, text: str) -> None:
    """Old or new, never half; for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main())
