"""A tree of Debian 13 with the appliance's Python packages as wheels, for containers to boot: made once, kept under
build/nspawn by what it is made of.

    python -m tests.nspawn.tree

- `root`: Debian by mmdebstrap (a minute) with a virtual environment for tests (`TESTS`); nothing of intercomd's own.
- `wheels`: all packages of hw/image/constraints.txt and requirements.txt for the tree's Python, fetched with the pip of
  the machine that runs this, so that its settings count; those without a wheel are compiled in the tree.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.capabilities import missing

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / "build" / "nspawn"
CONSTRAINTS = ROOT / "hw" / "image" / "constraints.txt"
REQUIREMENTS = HERE / "requirements.txt"
PACKAGES = HERE / "packages.txt"
SUITE = "trixie"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
TESTS = "/opt/tests"
"""The virtual environment of the tests that run inside."""
SOURCES_ONLY = ("lgpio", "pyalsaaudio", "systemd-python")
"""PyPI has no wheel of them for Python 3.13: they need the tree's compiler and headers."""
PLATFORMS = ("2_34", "2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5")
BUILD_LIMIT_S = 900


def tree() -> Path:
    """The folder with `root` and `wheels`, made if it is not there. Needs root and a network the first time."""
    folder = CACHE / f"{SUITE}-{fingerprint()}"
    if folder.is_dir():
        return folder
    fresh = CACHE / f"new-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _fetch(fresh)
        _debian(fresh / "root")
        _compile(fresh)
        _environment(fresh)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    for other in CACHE.glob(f"{SUITE}-*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def fingerprint() -> str:
    """Of everything that a tree is made of."""
    parts = [PACKAGES.read_bytes(), CONSTRAINTS.read_bytes(), REQUIREMENTS.read_bytes(), Path(__file__).read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def _run(command: Sequence[str], **environ: str) -> None:
    """At the lowest priority, and quietly unless it fails."""
    done = subprocess.run(
        ["nice", "-n", "19", *command],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout[-4000:]}\ntests.nspawn.tree: {command[0]}: exit {done.returncode}")


def _fetch(folder: Path) -> None:
    print("fetching the Python packages", flush=True)
    wanted = [*_lines(CONSTRAINTS), *_lines(REQUIREMENTS)]
    sources = [one for one in wanted if one.split("==")[0] in SOURCES_ONLY]
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    platforms = [f"--platform=manylinux_{version}_x86_64" for version in PLATFORMS]
    abis = [f"--abi={abi}" for abi in ("cp313", "abi3", "none")]
    binary = ["--only-binary=:all:", "--python-version=3.13", "--implementation=cp", *abis, *platforms]
    wheels = [f"--platform=manylinux{year}_x86_64" for year in (2014, 2010, 1)]
    rest = [one for one in wanted if one not in sources]
    _run([*download, *binary, *wheels, "--platform=any", "--dest", str(folder / "wheels"), *rest])
    # PYPI=1: lgpio's sources hold the C library too, but only build it when told so.
    _run([*download, "--no-binary=:all:", "--dest", str(folder / "sources"), *sources], PYPI="1")


def _debian(root: Path) -> None:
    print("making the tree", flush=True)
    suites = [f"deb {MIRROR} {SUITE} main", f"deb {MIRROR} {SUITE}-updates main"]
    locale = 'chroot "$1" localedef -i zh_CN -f UTF-8 zh_CN.UTF-8'
    include = ",".join(_lines(PACKAGES))
    options = ["--variant=minbase", f"--include={include}", f"--customize-hook={locale}", "--aptopt=Acquire::Retries 3"]
    _run(["mmdebstrap", *options, SUITE, str(root), *suites])


def _inside(folder: Path, script: str) -> None:
    """In the tree, without anything of this machine but the wheels."""
    inner = 'set -eu; mount --bind "$1" "$2/mnt"; mount -t proc proc "$2/proc"; exec chroot "$2" sh -euc "$3"'
    space = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inner, "sh"]
    clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "PYPI=1", "LC_ALL=C.UTF-8"]
    _run([*clean, *space, str(folder), str(folder / "root"), script])


def _compile(folder: Path) -> None:
    print("compiling what has no wheel", flush=True)
    offline = "--disable-pip-version-check --no-index --find-links /mnt/wheels"
    _inside(
        folder,
        f"python3 -m venv {TESTS}; {TESTS}/bin/pip wheel {offline} --no-deps -w /mnt/wheels /mnt/sources/*; "
        "rm -r /mnt/sources",
    )


def _environment(folder: Path) -> None:
    print("filling the tests' virtual environment", flush=True)
    _inside(folder, f"{TESTS}/bin/pip install --disable-pip-version-check --no-index --no-deps /mnt/wheels/*.whl")


if __name__ == "__main__":
    lacking = missing("nspawn")
    print(f"no tree is made: {lacking}" if lacking else tree().relative_to(ROOT))
