"""The message catalog: the file is what `errors.py` and the texts make, and journald can read it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from intercomd.errors import ErrorCode
from intercomd.texts import technicians
from intercomd.texts.catalog import catalog

FILE = Path(__file__).parents[2] / "systemd" / "intercomd.catalog"


def entries(text: str) -> dict[str, str]:
    """Entries by what stands behind `--`: the id, and the language where there is one."""
    found = {}
    for part in text.split("\n-- ")[1:]:
        head, _, rest = part.partition("\n")
        found[head] = rest
    return found


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == catalog(), "run `python -m intercomd.texts.catalog >systemd/intercomd.catalog`"


def test_the_technicians_table_is_up_to_date_and_has_every_code_twice() -> None:
    said = (FILE.parent / "README.md").read_text()
    assert technicians.rewritten(said) == said, "run `python -m intercomd.texts.technicians systemd/README.md`"
    assert {code.name: said.count(f"\n| `{code.name}` |") for code in ErrorCode} == {code.name: 2 for code in ErrorCode}


def test_every_code_has_an_entry_in_both_languages() -> None:
    expected = {code.message_id.hex + language for code in ErrorCode for language in ("", " zh")}
    assert set(entries(catalog())) == expected


def test_an_entry_tells_cause_remedy_and_what_residents_see() -> None:
    code = ErrorCode.CARD_BUSY
    english, chinese = (entries(catalog())[code.message_id.hex + language] for language in ("", " zh"))
    assert english.startswith("Subject: The sound card is in use by another program\nDefined-By: intercomd\n\n")
    assert code.value.advice in english
    assert "Code: CARD_BUSY" in english
    assert "声卡" in chinese
    assert "CARD_BUSY" in chinese


def test_the_environment_s_encoding_does_not_matter() -> None:
    environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "intercomd.texts.catalog"]
    done = subprocess.run(command, cwd=FILE.parents[1], env=environ, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode() == FILE.read_text()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system's root in which journalctl finds the catalog."""
    folder = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    folder.mkdir(parents=True)
    (folder / FILE.name).write_text(FILE.read_text())
    (tmp_path / "var" / "lib" / "systemd" / "catalog").mkdir(parents=True)
    return tmp_path


def journalctl(root: Path, *arguments: str, **environ: str) -> str:
    command = ["journalctl", f"--root={root}", *arguments]
    clean = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60, check=True).stdout


def entry(language: str = "") -> str:
    return entries(catalog())[ErrorCode.CARD_BUSY.message_id.hex + language].strip()


@pytest.mark.platform("journalctl")
def test_journalctl_compiles_it(root: Path) -> None:
    journalctl(root, "--update-catalog")
    assert journalctl(root, "--list-catalog").count("intercomd: ") == len(ErrorCode)
    assert entry() in journalctl(root, "--dump-catalog", ErrorCode.CARD_BUSY.message_id.hex, LC_ALL="C")


@pytest.mark.platform("journalctl", "locale-sources")
def test_journalctl_finds_the_chinese_entry(root: Path) -> None:
    locale = "zh_CN.UTF-8"
    localedef = ["localedef", "--no-archive", "-i", "zh_CN", "-f", "UTF-8", str(root / locale)]
    subprocess.run(localedef, check=True, timeout=60, capture_output=True)
    journalctl(root, "--update-catalog")
    dumped = journalctl(root, "--dump-catalog", ErrorCode.CARD_BUSY.message_id.hex, LC_ALL=locale, LOCPATH=str(root))
    assert entry(" zh") in dumped
