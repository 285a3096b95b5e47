"""The outward word for every inward reason."""

import pytest

from intercomd.core.outcome import Outcome, outcome
from intercomd.core.vocabulary import EndReason


@pytest.mark.parametrize(
    ("reason", "answered_at", "expected"),
    [
        (EndReason.COMPLETED, 1.0, Outcome.COMPLETED),
        (EndReason.MEDIA_FAILED, 1.0, Outcome.COMPLETED),
        (EndReason.REJECTED, None, Outcome.REJECTED),
        *((reason, None, Outcome.MISSED) for reason in EndReason if reason is not EndReason.REJECTED),
    ],
)
def test_outcomes(reason: EndReason, answered_at: float | None, expected: Outcome) -> None:
    assert outcome(reason, answered_at) is expected
