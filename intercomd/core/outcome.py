"""The outward word for how a call went: what residents and reports are told. The inward reason is kept beside
it."""

from enum import StrEnum

from intercomd.core.vocabulary import EndReason


class Outcome(StrEnum):
    COMPLETED = "completed"
    MISSED = "missed"
    REJECTED = "rejected"


def outcome(reason: EndReason, answered_at: float | None) -> Outcome:
    """A call that was answered is completed, however it ended; one that was not is rejected or missed."""
    if answered_at is not None:
        return Outcome.COMPLETED
    if reason is EndReason.REJECTED:
        return Outcome.REJECTED
    return Outcome.MISSED
