"""What a test may need of the machine, by name: `@pytest.mark.platform("pulseaudio", "alsa-pulse")`. Each probe gives
the reason why the machine lacks it, or None. Probes look; they change nothing, but for `netns` and `nspawn`, which make
a small network and a small space with mounts of its own, and take them down."""

import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

Probe = Callable[[], str | None]


def _program(*names: str) -> Probe:
    def probe() -> str | None:
        return None if any(map(shutil.which, names)) else f"no program {' or '.join(names)} in PATH"

    return probe


def _library(name: str) -> Probe:
    def probe() -> str | None:
        return None if ctypes.util.find_library(name) else f"no library lib{name}"

    return probe


def _alsa_pulse() -> str | None:
    found = any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so"))
    return None if found else "no pulse plugin for alsa-lib (package libasound2-plugins)"


def _sound_card() -> str | None:
    cards = Path("/proc/asound/cards")
    present = cards.exists() and "no soundcards" not in cards.read_text()
    return None if present else "no sound card in /proc/asound/cards"


def _gpio_chip() -> str | None:
    return None if any(Path("/dev").glob("gpiochip*")) else "no /dev/gpiochip*"


def _systemd() -> str | None:
    return None if Path("/run/systemd/system").is_dir() else "systemd is not PID 1 here"


def _journal() -> str | None:
    return None if Path("/run/systemd/journal/socket").exists() else "no journald socket"


def _private_journald() -> str | None:
    """A journald of the test's own, in its own mount namespace (CAP_SYS_ADMIN is bit 21, capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    if not int(effective.split()[1], 16) >> 21 & 1:
        return "no CAP_SYS_ADMIN for a mount namespace"
    if not Path("/lib/systemd/systemd-journald").exists():
        return "no systemd-journald"
    return _program("unshare")() or _program("journalctl")()


def _locale_sources() -> str | None:
    found = Path("/usr/share/i18n/locales/zh_CN").exists()
    return _program("localedef")() if found else "no sources of the locale zh_CN (package locales)"


def _nginx() -> str | None:
    """Debian has it where only root's PATH looks."""
    return None if shutil.which("nginx") or Path("/usr/sbin/nginx").exists() else "no program nginx"


def _netns() -> str | None:
    from tests.netns.laboratory import lacking

    return lacking()


def _root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


def _nspawn() -> str | None:
    from tests.nspawn.machine import lacking

    return lacking()


def _real_time() -> str | None:
    """LimitRTPRIO= and SCHED_FIFO: systemd raises the limit by CAP_SYS_RESOURCE, and the control group must have a
    share of real time (CONFIG_RT_GROUP_SCHED)."""
    if lacking := _program("prlimit")() or _program("chrt")():
        return lacking
    command = ["prlimit", "--rtprio=20:20", "chrt", "--fifo", "20", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stderr.strip() or f"exit {done.returncode}" if done.returncode else None


def _node_modules() -> str | None:
    installed = Path(__file__).parent / "node" / "node_modules" / "socket.io-client"
    return _program("node")() or (None if installed.is_dir() else "tests/node is not installed (npm ci)")


def _crashlab() -> str | None:
    """What tests/crash needs: to mount an ext4 on a loop device on a FUSE file. Inside a user namespace the kernel
    mounts no ext4 (user_namespaces(7)); CAP_SYS_ADMIN is bit 21 (capabilities(7)). A device that a container's cgroup
    keeps away can be seen, but not opened."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    if not int(effective.split()[1], 16) >> 21 & 1:
        return "no CAP_SYS_ADMIN to mount anything"
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]:
        return "a user namespace may not mount ext4"
    loops = sorted(Path("/dev").glob("loop[0-9]*"))
    for device in (Path("/dev/fuse"), Path("/dev/loop-control"), *(loops[:1] or [Path("/dev/loop0")])):
        try:
            os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return f"{device}: {error.strerror}"
    if "\text4\n" not in Path("/proc/filesystems").read_text():
        return "no ext4 in the kernel"
    return _library("fuse3")() or _program("mkfs.ext4")() or _program("cc")()


def _postgres() -> str | None:
    from tests.postgres import lacking

    return lacking()


PROBES: dict[str, Probe] = {
    "pulseaudio": _program("pulseaudio"),
    "alsa-pulse": _alsa_pulse,
    "sound-card": _sound_card,
    "libopus": _library("opus"),
    "gpio-chip": _gpio_chip,
    "systemd": _systemd,
    "systemd-analyze": _program("systemd-analyze"),
    "journal": _journal,
    "journalctl": _program("journalctl"),
    "private-journald": _private_journald,
    "locale-sources": _locale_sources,
    "chromium": _program("chromium", "chromium-browser", "google-chrome-stable"),
    "crashlab": _crashlab,
    "nspawn": _nspawn,
    "real-time": _real_time,
    "shellcheck": _program("shellcheck"),
    "root": _root,
    "netns": _netns,
    "coturn": _program("turnserver"),
    "postgres": _postgres,
    "nginx": _nginx,
    "promtool": _program("promtool"),
    "node-modules": _node_modules,
}


@cache
def missing(name: str) -> str | None:
    """Why this machine lacks the capability, None if it has it. KeyError for a name that is not in `PROBES`."""
    return PROBES[name]()
