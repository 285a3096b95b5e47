"""The Python packages of a station as wheels for one processor, and the virtual environment that is filled with them.

pip of the target's own Python picks them (in the tree `maker`, on this processor): wheels from the index for whatever
has some, the rest compiled, for arm64 by a cross compiler. The versions are those of constraints.txt.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hw.image import ROOT, trees
from hw.image.progress import Step, step
from hw.image.recipes import MAKER

CONSTRAINTS = Path(__file__).parent / "constraints.txt"
CACHE = ROOT / "build" / "wheels"
EXTRAS = "device,voice,hub"
VENV = "opt/intercomd"
SITE = f"{VENV}/lib/python3.13/site-packages"
COMPILED = ("lgpio", "pyalsaaudio", "systemd-python")
"""No wheel for this Python and every processor; sources only."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# glibc's versions that Debian 13 (2.41) is newer than; pip takes only those tags that it is told.
GLIBC = ("2_17", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34", "2_35", "2_38", "2_39", "2_40", "2_41")

CROSS = {
    "CC": "aarch64-linux-gnu-gcc",
    "LDSHARED": "aarch64-linux-gnu-gcc -shared",
    "PKG_CONFIG_LIBDIR": "/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig",
    # setuptools takes compiler, suffix and platform from the build machine's Python, unless told of another's.
    "_PYTHON_HOST_PLATFORM": "linux-aarch64",
    "_PYTHON_SYSCONFIGDATA_NAME": "_sysconfigdata__aarch64-linux-gnu",
}


def pins() -> tuple[str, ...]:
    """`NAME==VERSION` of every package of the card."""
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return tuple(line for line in lines if line)


def wheelhouse(architecture: str) -> Path:
    """A folder with a wheel of each pinned package for this processor, made now if it is not kept."""
    key = hashlib.sha256("\n".join((architecture, *pins(), *GLIBC)).encode()).hexdigest()[:12]
    house = CACHE / f"{architecture}-{key}"
    if house.is_dir():
        return house
    fresh = house.with_name(house.name + f".new.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        with step(f"wheels for {architecture} ({len(pins())} packages)") as told, workshop(fresh) as shop:
            _compile(shop, told, architecture)
            _download(shop, told, architecture)
        fresh.rename(house)
    except BaseException:  # Ctrl-C too: half a tree must not be taken for a whole one
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return house


def fill(tree: Path, architecture: str) -> None:
    """Make /opt/intercomd below `tree`: this checkout and its packages, compiled to bytecode, ready for a read-only
    root. The result does not depend on this machine's Python."""
    house = wheelhouse(architecture)
    with step(f"virtual environment for {architecture}") as told, workshop(house, tree) as shop:
        (tree / VENV).mkdir(parents=True, exist_ok=True)
        shop.run(told, "python3", "-m", "venv", "--without-pip", f"/target/{VENV}")
        source = shop.take_source()
        shop.run(told, "python3", "-m", "pip", "wheel", "--no-deps", "--no-index", "--find-links", "/wheels",
                 "-w", "/own", source)  # fmt: skip
        own = next((shop.root / "own").glob("intercomd-*.whl"))
        shop.run(told, "python3", "-m", "pip", "install", "--no-index", "--find-links", "/wheels", "--no-deps",
                 "--no-compile", "--target", f"/target/{SITE}", *_platforms(architecture), f"/own/{own.name}",
                 *pins())  # fmt: skip
        for name, module in (("intercomd", "intercomd.__main__"), ("intercomctl", "intercomd.ctl.main")):
            _script(tree / VENV / "bin" / name, module)
        # Unchecked: nothing on a read-only root changes, and each comparison of times is a read of the card.
        shop.run(told, "python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash",
                 "-s", "/target", f"/target/{SITE}")  # fmt: skip
        _relocate(tree)


def _script(path: Path, module: str) -> None:
    path.write_text(f"#!/{VENV}/bin/python3\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
    path.chmod(0o755)


def _relocate(tree: Path) -> None:
    """A virtual environment knows its own path: that of the machine it is made for."""
    for file in (tree / VENV).rglob("*"):
        ours = file.parent.name == "bin" or file.name == "pyvenv.cfg"
        if ours and file.is_file() and not file.is_symlink():
            file.write_text(file.read_text().replace(f"/target/{VENV}", f"/{VENV}"))
    shutil.rmtree(tree / SITE / "bin", ignore_errors=True)


def _compile(shop: "Workshop", told: Step, architecture: str) -> None:
    wanted = [pin for pin in pins() if pin.split("==")[0] in COMPILED]
    # PYPI=1: lgpio's sources then build their C library too, instead of expecting an installed one.
    environ = {"PYPI": "1", **(CROSS if architecture == "arm64" else {})}
    shop.run(told, "python3", "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--no-binary", ",".join(COMPILED),
             "-w", "/wheels", *wanted, environ=environ)  # fmt: skip


def _download(shop: "Workshop", told: Step, architecture: str) -> None:
    wanted = [pin for pin in pins() if pin.split("==")[0] not in COMPILED]
    shop.run(told, "python3", "-m", "pip", "download", "--no-deps", *_platforms(architecture), "-d", "/wheels", *wanted)


def _platforms(architecture: str) -> list[str]:
    machine = MACHINES[architecture]
    names = [f"manylinux_{glibc}_{machine}" for glibc in GLIBC] + [f"manylinux2014_{machine}", f"linux_{machine}"]
    abis = ("cp313", "abi3", "none")
    chosen = ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.13"]
    for name in names:
        chosen += ["--platform", name]
    for abi in abis:
        chosen += ["--abi", abi]
    return chosen


# --------------------------------------------------------------------------------------------- where pip is run


class Workshop:
    """The tree `maker` with folders of this machine bound into it: /wheels, /target, and pip's own configuration."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, told: Step, *argv: str, environ: dict[str, str] | None = None) -> str:
        return told.run(["chroot", str(self.root), *argv], environ=_environment() | (environ or {}), limit_s=1800)

    def take_source(self) -> str:
        """A copy of what a wheel of ours is made of; pip would leave files in the checkout."""
        place = self.root / "source"
        shutil.copytree(
            ROOT / "intercomd", place / "intercomd", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, place / name)
        return "/source"


@contextmanager
def workshop(wheels: Path, target: Path | None = None) -> Iterator[Workshop]:
    """Open the workshop; its mounts and what was written in it go at the end."""
    work = ROOT / "build" / f"workshop.{os.getpid()}"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        root = stack.enter_context(trees.laid_over(trees.made(MAKER), work))
        _bind(stack, wheels, root / "wheels")
        if target is not None:
            _bind(stack, target, root / "target")
        for special in ("dev", "proc"):
            _bind(stack, Path("/", special), root / special)
        _lend_network(root)
        _lend_pip(stack, root)
        yield Workshop(root)


def _bind(stack: ExitStack, source: Path, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(source), str(place)], check=True, timeout=30)
    stack.callback(subprocess.run, ["umount", str(place)], check=False, timeout=60)


def _lend_network(root: Path) -> None:
    for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"):
        source, place = Path("/", name), root / name
        if source.is_file():
            place.unlink(missing_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)


def _lend_pip(stack: ExitStack, root: Path) -> None:
    """Local folders that this machine's pip looks into (`find-links`, an index as file:), under their own names."""
    asked = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, timeout=60
    )
    words = asked.stdout.replace("'", " ").replace("\\n", " ").split() + os.environ.get("PIP_FIND_LINKS", "").split()
    for place in sorted({word.removeprefix("file://") for word in words}):
        if place.startswith("/") and Path(place).is_dir():
            _bind(stack, Path(place), root / place.lstrip("/"))


def _environment() -> dict[str, str]:
    kept: Sequence[str] = [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]
    fixed = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    return {name: os.environ[name] for name in kept} | fixed
