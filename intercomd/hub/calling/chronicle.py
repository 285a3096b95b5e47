"""The technician's lines about calls: what changed between two states of one call."""

from intercomd.core.legs import HubCall
from intercomd.core.outcome import outcome
from intercomd.core.vocabulary import HubPhase
from intercomd.errors import ErrorCode
from intercomd.ports import Journal


def report(journal: Journal, before: HubCall | None, after: HubCall) -> None:
    """One line for each milestone; nothing for changes that no person asks about."""
    old = before.phase if before is not None else None
    if old is after.phase:
        return
    caller, recipient = after.caller.party.identity, after.recipient_id
    fields: dict[str, str | int | float] = {
        "CALL_ID": after.call_id, "USER_ID": caller, "PEER": recipient, "EPOCH": after.epoch,
        "PHASE":
        after.phase.value,
    }  # fmt: skip
    match after.phase:
        case HubPhase.RINGING if old is None:
            journal.report(ErrorCode.CALL_DIALLED, f"{caller} calls {recipient}.", **fields)
        case HubPhase.CONNECTING if old is HubPhase.RINGING:
            callee = after.callee
            who = callee.party.identity if callee else recipient
            journal.report(ErrorCode.CALL_ANSWERED, f"{who} answers {caller}.", **fields)
        case HubPhase.INTERRUPTED:
            journal.report(
                ErrorCode.CALL_RECONNECTING, f"The call of {caller} and {recipient} is interrupted.", **fields
            )
        case HubPhase.ENDED if after.end_reason is not None:
            word = outcome(after.end_reason, after.answered_at).value
            text = f"The call of {caller} to {recipient} is over: {word} ({after.end_reason.value})."
            journal.report(ErrorCode.CALL_ENDED, text, REASON=after.end_reason.value, **fields)
        case _:
            return
