"""Some tens of thousands of arbitrary messages; `make fuzz` sends a million."""

from pathlib import Path

import pytest

from tests.fuzz import fuzz

COUNT = 15_000


@pytest.mark.timeout(300)
async def test_strangers_harm_nobody(tmp_path: Path) -> None:
    answers = await fuzz(COUNT, 7, tmp_path)
    tried = {"ok", "bad_request", "not_found", "not_participant", "not_this_device", "wrong_phase", "unknown_event"}
    assert tried <= set(answers), f"the trial is weaker than it says: {answers}"
