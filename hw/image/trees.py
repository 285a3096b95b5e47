"""Trees of Debian 13, made by mmdebstrap and kept under build/trees by what goes into them.

A tree is slow (12 minutes for another processor) and changes seldom: its folder is named after the hash of its recipe,
and whoever wants the same one again gets it at once. What is ours is never in a tree: it is laid over it (`laid_over`).
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hw.image import ROOT
from hw.image.progress import Step, step

SUITE = "trixie"
CACHE = ROOT / "build" / "trees"
SECTIONS = "main non-free-firmware"
TOOLS = ("mmdebstrap", "mke2fs")

# Backports move: a pin instead of names, so that the kernel's parts come from one place.
PIN = """Package: linux-image-* linux-headers-* linux-base linux-kbuild-* raspi-firmware
Pin: release n=trixie-backports
Pin-Priority: 600
"""
LEAN = """path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a tree is made of; `modules` are the initial RAM disk's, none for those that initramfs-tools thinks best."""

    name: str
    architecture: str
    packages: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        text = json.dumps([asdict(self), SUITE, SECTIONS, PIN, LEAN], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.name}-{self.key}"

    @property
    def took_s(self) -> float | None:
        """How long the kept tree took to make; None where that is not known."""
        try:
            return float(self._stamp.read_text())
        except (OSError, ValueError):
            return None

    def stamp(self, took_s: float) -> None:
        self._stamp.write_text(f"{took_s:.1f}\n")

    @property
    def _stamp(self) -> Path:
        return CACHE / f"{self.name}-{self.key}.took"


def mirror() -> str:
    """The Debian mirror that this machine installs from; MIRROR names another one."""
    if given := os.environ.get("MIRROR"):
        return given.rstrip("/")
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Component: main"]
    sites = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    found = [site for site in sites if site.rstrip("/").endswith("/debian")]
    if not found:
        raise SystemExit("image: this machine's apt names no Debian mirror: set MIRROR=http://.../debian")
    return found[0].rstrip("/")


def made(recipe: Recipe) -> Path:
    """The tree, made now if it is not kept. It is read-only for whoever gets it (`laid_over`)."""
    folder = recipe.folder
    if folder.is_dir():
        return folder
    fresh = folder.with_name(folder.name + f".new.{os.getpid()}")
    with step(f"tree {recipe.name} ({recipe.architecture}, {len(recipe.packages)} packages)") as told:
        with emulation(recipe.architecture):
            _mmdebstrap(recipe, fresh, told)
        fresh.rename(folder)
        recipe.stamp(told.taken_s)
    _forget_others(recipe)
    return folder


def _mmdebstrap(recipe: Recipe, fresh: Path, told: Step) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    source = mirror()
    security = source.removesuffix("/debian") + "/debian-security"
    first, *foreign = (recipe.architecture, *recipe.foreign)
    hooks = {
        "etc/apt/preferences.d/backports": PIN,
        "etc/dpkg/dpkg.cfg.d/lean": LEAN,
        "etc/initramfs-tools/conf.d/modules": f"MODULES={'list' if recipe.modules else 'most'}\n",
        "etc/initramfs-tools/modules": "\n".join(recipe.modules) + "\n",
    }
    staged = fresh.with_name(fresh.name + ".files")
    for name, text in hooks.items():
        file = staged / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", f"--architectures={','.join((first, *foreign))}",
        f"--include={','.join(recipe.packages)}", "--aptopt=Acquire::Retries 5",
        "--aptopt=APT::Install-Recommends false",
        "--skip=check/qemu", f"--setup-hook=cp -r '{staged}/etc' \"$1/\"",
        SUITE, str(fresh),
        f"deb {source} {SUITE} {SECTIONS}",
        f"deb {source} {SUITE}-updates {SECTIONS}",
        f"deb {source} {SUITE}-backports {SECTIONS}",
        f"deb {security} {SUITE}-security {SECTIONS}",
    ]  # fmt: skip
    try:
        told.run(command, limit_s=5400)
    except BaseException:  # Ctrl-C too: half a tree must not be taken for a whole one
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _forget_others(recipe: Recipe) -> None:
    """Trees of an older recipe of the same name would fill the disk."""
    for old in CACHE.glob(f"{recipe.name}-*"):
        if old.name.removesuffix(".took") == recipe.folder.name or ".new." in old.name:
            continue
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()


# ----------------------------------------------------------------------------------------- another processor's tree

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# The ELF header of an AArch64 program and the bits of it that count (elf(5)); F opens the interpreter here and now, so
# that a tree needs no copy of it (Documentation/admin-guide/binfmt-misc.rst).
AARCH64 = (
    r":intercomd-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F"
)


@contextmanager
def emulation(architecture: str) -> Iterator[None]:
    """While it is open, programs of `architecture` run on this machine; what was set up for it is taken away."""
    if architecture != "arm64" or os.uname().machine == "aarch64" or _runs_aarch64():
        yield
        return
    mounted = not (BINFMT / "register").exists()
    if mounted:
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True, timeout=30)
    (BINFMT / "register").write_text(AARCH64)
    try:
        yield
    finally:
        (BINFMT / "intercomd-aarch64").write_text("-1")
        if mounted:
            subprocess.run(["umount", str(BINFMT)], check=False, timeout=30)


def _runs_aarch64() -> bool:
    if not BINFMT.is_dir():
        return False
    return any("qemu-aarch64" in entry.read_text() for entry in BINFMT.iterdir() if "aarch64" in entry.name)


# ------------------------------------------------------------------------------------------------------ laying over


@contextmanager
def laid_over(tree: Path, work: Path) -> Iterator[Path]:
    """A folder that looks like `tree` and can be written: what is written goes to `work`. By overlayfs, so as root; it
    copies nothing, where a copy of the tree would take as long as the image."""
    upper, inner, merged = work / "upper", work / "inner", work / "merged"
    shutil.rmtree(upper, ignore_errors=True)
    shutil.rmtree(inner, ignore_errors=True)
    for folder in (upper, inner, merged):
        folder.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={tree},upperdir={upper},workdir={inner}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], check=True, timeout=30)
    try:
        yield merged
    finally:
        subprocess.run(["umount", str(merged)], check=True, timeout=60)


def package_list(tree: Path) -> str:
    """What is in the tree: name, version, architecture and source package, one a line, sorted."""
    shown = "${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\\n"
    asked = ["dpkg-query", f"--admindir={tree}/var/lib/dpkg", "-W", "-f", shown]
    return "".join(
        sorted(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines(True))
    )
