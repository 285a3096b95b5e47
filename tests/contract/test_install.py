"""`systemd/install` and `systemd/uninstall` into a tree, with a wheel made here: no network and no compiler."""

import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from intercomd import __version__

ROOT = Path(__file__).parents[2]
FILES = [line.split() for line in (ROOT / "systemd" / "files").read_text().splitlines() if not line.startswith("#")]
DISTINFO = f"intercomd-{__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is, as a wheel (PyPA's binary distribution format; RECORD may be empty of hashes)."""
    path = tmp_path_factory.mktemp("wheel") / f"intercomd-{__version__}-py3-none-any.whl"
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: intercomd\nVersion: {__version__}\n"
        'Requires-Dist: livekit<1.3,>=1.2; extra == "voice"\n',
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[console_scripts]\nintercomd = intercomd.__main__:main\n"
        "intercomctl = intercomd.ctl.main:main\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for source in sorted((ROOT / "intercomd").rglob("*.py")):
            archive.write(source, source.relative_to(ROOT))
        for name, text in metadata.items():
            archive.writestr(f"{DISTINFO}/{name}", text)
    return path


def run(script: str, destdir: Path | None, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {"PYTHON": sys.executable, "EXTRAS": "", "PIP_NO_INDEX": "1", "SYSTEMD_VERSION": "257", **extra}
    if environ["EXTRAS"] == "as it decides":
        del environ["EXTRAS"]
    if destdir is not None:
        environ["DESTDIR"] = str(destdir)
    command = [str(ROOT / "systemd" / script), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    destdir = tmp_path_factory.mktemp("tree")
    done = run("install", destdir, PACKAGE=str(wheel))
    assert done.returncode == 0, done.stderr
    return destdir


def below(tree: Path, target: str) -> Path:
    return tree / target.lstrip("/")


def test_every_file_is_there_and_readable_by_all(tree: Path) -> None:
    for source, target, _ in FILES:
        original, installed = ROOT / source, below(tree, target)
        pairs = [(original, installed)]
        if original.is_dir():
            pairs = [(file, installed / file.relative_to(original)) for file in original.rglob("*") if file.is_file()]
        for here, there in pairs:
            assert there.read_bytes() == here.read_bytes(), there
            assert stat.S_IMODE(there.stat().st_mode) & 0o444 == 0o444


def test_the_programs_know_their_final_place(tree: Path) -> None:
    scripts = [below(tree, f"/opt/intercomd/bin/{name}") for name in ("intercomd", "intercomctl")]
    assert [script.read_text().splitlines()[0] for script in scripts] == ["#!/opt/intercomd/bin/python"] * 2
    assert os.readlink(below(tree, "/usr/local/bin/intercomctl")) == "/opt/intercomd/bin/intercomctl"
    traces = subprocess.run(["grep", "-rlIF", str(tree), str(tree / "opt" / "intercomd" / "bin")], capture_output=True)
    assert traces.stdout == b""


def test_what_was_installed_runs(tree: Path) -> None:
    python = below(tree, "/opt/intercomd/bin/python")
    command = [str(python), "-I", "-m", "intercomd", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["intercomd", __version__]


def test_the_station_is_enabled_and_the_hub_is_not(tree: Path) -> None:
    wants = below(tree, "/etc/systemd/system/multi-user.target.wants")
    assert [entry.name for entry in wants.iterdir()] == ["intercomd.service"]
    assert os.readlink(wants / "intercomd.service") == "/usr/lib/systemd/system/intercomd.service"


def test_again_changes_nothing_and_keeps_the_configuration(tree: Path, wheel: Path) -> None:
    configuration = below(tree, "/etc/intercomd/intercomd.toml")
    configuration.write_text("# mine\n")
    program = below(tree, "/opt/intercomd/bin/intercomd")
    before = program.stat().st_mtime_ns
    done = run("install", tree, PACKAGE=str(wheel))
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout
    assert program.stat().st_mtime_ns == before
    assert configuration.read_text() == "# mine\n"


def test_an_older_systemd_gets_no_keys_that_it_does_not_know(tree: Path, wheel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    (copy / "opt").mkdir(parents=True)
    (copy / "opt" / "intercomd").symlink_to(tree / "opt" / "intercomd")
    run("install", copy, PACKAGE=str(wheel), SYSTEMD_VERSION="252", SERVICES="intercomd intercomd-hub")
    units = below(copy, "/usr/lib/systemd/system")
    assert {"intercomd-hub.service", "intercomd.service"} <= {entry.name for entry in units.iterdir()}
    assert not [entry for entry in units.iterdir() if entry.is_dir()]
    wants = below(copy, "/etc/systemd/system/multi-user.target.wants")
    assert len(list(wants.iterdir())) == 2


def remaining(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir() or path.is_symlink())


def test_echo_cancellation_comes_along_where_it_is_wanted_and_can_be_had(
    tmp_path: Path, tree: Path, wheel: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    config = below(tree, "/etc/intercomd/intercomd.toml")
    livekit = below(tree, "/opt/intercomd/lib")

    def install(**extra: str) -> str:
        given = {"PACKAGE": str(wheel), "EXTRAS": "as it decides", "PIP_FIND_LINKS": str(links)} | extra
        done = run("install", tree, **given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    usual = config.read_text()
    config.write_text('[audio]\nprocessing = "none"\n')
    assert "echo cancellation" not in install()
    config.write_text(usual)
    assert "calls are half duplex until" in install(), "and everything else is installed"
    with zipfile.ZipFile(links / "livekit-1.2.9-py3-none-any.whl", "w") as archive:
        archive.writestr("livekit/rtc/__init__.py", "")
        archive.writestr("livekit-1.2.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: livekit\nVersion: 1.2.9\n")
        archive.writestr(
            "livekit-1.2.9.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("livekit-1.2.9.dist-info/RECORD", "")
    assert "adding echo cancellation: livekit<1.3,>=1.2" in install()
    assert list(livekit.glob("python*/site-packages/livekit/rtc/__init__.py"))


def test_uninstall_leaves_configuration_and_state_unless_purged(tree: Path) -> None:
    """Last: it takes the tree away."""
    state = below(tree, "/var/lib/intercomd/state.db")
    state.parent.mkdir(parents=True)
    state.write_text("")
    others = below(tree, "/usr/lib/systemd/system/other.service")
    others.write_text("")
    for _ in range(2):
        done = run("uninstall", tree)
        assert done.returncode == 0, done.stderr
        assert remaining(tree) == [
            "etc/intercomd/intercomd.toml",
            "usr/lib/systemd/system/other.service",
            "var/lib/intercomd/state.db",
        ]
    assert not below(tree, "/usr/share/intercomd").exists()
    done = run("uninstall", tree, PURGE="1")
    assert done.returncode == 0, done.stderr
    assert remaining(tree) == ["usr/lib/systemd/system/other.service"]


def test_wrong_usage() -> None:
    assert run("install", Path("/nonexistent"), "--yes").returncode == 2


@pytest.mark.platform("root")
@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_without_root_one_sentence_says_what_is_missing(script: str) -> None:
    """As another user (`setpriv` of util-linux), who need not be able to read this checkout."""
    text = (ROOT / "systemd" / script).read_text()
    command = ["setpriv", "--reuid=65534", "--clear-groups", "--regid=65534", "bash", "-c", text, "/usr/x"]
    clean = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=clean, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"sudo make {script}" in done.stderr


def test_an_unfit_python_is_named(tmp_path: Path) -> None:
    python = tmp_path / "python9"
    python.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 9.9.9" && exit\nexit 1\n')
    python.chmod(0o755)
    done = run("install", tmp_path / "tree", PYTHON=str(python))
    assert done.returncode == 1
    assert "Python 9.9.9" in done.stderr
    assert "3.11 to 3.13" in done.stderr
