"""The suite's own rules can fail: leaks, silent skips, warnings, unknown capabilities."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.allowed import allowed_warnings, known_missing
from tests.capabilities import PROBES, missing

ROOT = Path(__file__).parent.parent.parent
ABSENT = next((name for name in PROBES if missing(name)), None)


def _pytest(tmp_path: Path, source: str, **environ: str) -> str:
    """What pytest says of one file with the rules of `tests/conftest.py`."""
    file = tmp_path / "test_planted.py"
    file.write_text("import asyncio, os, threading, time, warnings\nimport pytest\n\n" + source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-W",
        "error",
        "-p",
        "tests.conftest",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    environ = os.environ | {"STRICT": "0"} | environ
    found = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(file)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return found.stdout + found.stderr


def test_leaks_are_found_and_what_settles_is_none(tmp_path: Path) -> None:
    said = _pytest(
        tmp_path,
        """
async def test_task():
    asyncio.get_running_loop().create_task(asyncio.sleep(60))

def test_task_of_a_loop_of_its_own():
    async def main():
        asyncio.create_task(asyncio.sleep(60))
    asyncio.run(main())

def test_thread():
    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()

def test_descriptor():
    os.open("/dev/null", os.O_RDONLY)

async def test_clean():
    asyncio.get_running_loop().create_task(asyncio.sleep(0.05))
    await asyncio.to_thread(time.sleep, 0.01)
""",
        SETTLE_S="0.3",
    )
    assert "5 passed, 4 errors" in said
    # Whole lines only: where $CI is set, pytest's summary repeats each message in full.
    assert len(re.findall(r"^left behind: task <coroutine object", said, re.MULTILINE)) == 2
    assert len(re.findall(r"^left behind: thread Thread-", said, re.MULTILINE)) == 1
    assert "at teardown of test_clean" not in said


def test_warnings_are_errors_and_strict_allows_no_skip(tmp_path: Path) -> None:
    source = """
def test_old():
    warnings.warn('old', DeprecationWarning)

def test_skipped():
    pytest.skip('not today')
"""
    assert "1 failed, 1 skipped" in _pytest(tmp_path, source)
    said = _pytest(tmp_path, source, STRICT="1")
    assert "2 failed" in said
    assert "not today" in said


def test_a_capability_must_be_known(tmp_path: Path) -> None:
    said = _pytest(tmp_path, "@pytest.mark.platform('teleport')\ndef test_beam():\n    pass\n")
    assert "unknown capability ['teleport']" in said


@pytest.mark.skipif(ABSENT is None, reason="this machine has every capability")
def test_a_missing_capability_skips_with_its_reason(tmp_path: Path) -> None:
    said = _pytest(tmp_path, f"@pytest.mark.platform('{ABSENT}')\ndef test_it():\n    raise AssertionError\n")
    assert "1 skipped" in said
    assert f"{ABSENT}: {missing(ABSENT)}" in said


def test_lists_of_exceptions_need_reasons(tmp_path: Path) -> None:
    file = tmp_path / "warnings.txt"
    file.write_text("# Theirs: gone in their next release.\nDeprecationWarning: use (b), not a\n")
    (entry,) = allowed_warnings(file)
    assert entry.category is DeprecationWarning
    assert entry.pattern == r"use\ \(b\),\ not\ a\Z"
    assert entry.reason == "Theirs: gone in their next release."
    bare = tmp_path / "bare.txt"
    bare.write_text("# A reason of something else.\n\nDeprecationWarning: x\n")
    with pytest.raises(ValueError, match=r"bare\.txt:3: no reason"):
        allowed_warnings(bare)


def test_ci_stays_within_an_hour() -> None:
    """Also where each part takes all the time that it may."""
    limits = [int(limit) for limit in re.findall(r"\bpart (\d+) ", (ROOT / ".ci" / "run").read_text())]
    assert len(limits) == 7
    assert sum(limits) <= 3600


def test_the_lists_themselves() -> None:
    assert all(entry.message for entry in allowed_warnings())
    assert known_missing().keys() <= PROBES.keys()
