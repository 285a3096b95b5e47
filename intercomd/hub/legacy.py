"""What clients of the legacy application's kind expect besides the protocol: they ask for no acknowledgement, so a
refusal is told as an event, and two of their habits are answered instead of refused on every connect.

What that application did insecurely is not here: a claimed `callerId` or `duration` is not read, rooms are not joined,
chat bubbles are not relayed, and nobody but its participants changes a call."""

from collections.abc import Mapping
from typing import Any, Final

from intercomd.core.protocol import Code

ERROR_EVENT: Final = "error"
PING, PONG = "ping", "pong"
SILENT: Final = frozenset({"get_offline_messages", "leave_conversation"})
"""Asked for on every connect; there is nothing to send, and no reason to alarm anybody."""


def told(event: str, reply: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a client hears that asked for no acknowledgement: nothing of a success, which it learns from notices."""
    if reply.get("ok") or event in SILENT:
        return None
    return {"code": reply.get("code", Code.INTERNAL.value), "message": reply.get("message", ""), "event": event}


def pong(payload: object, now_s: float) -> dict[str, Any]:
    """Milliseconds of the Unix epoch, as `Date.now()` gives them."""
    timestamp = payload.get("timestamp") if isinstance(payload, dict) else None
    is_number = isinstance(timestamp, int | float) and not isinstance(timestamp, bool)
    return {"timestamp": timestamp if is_number else None, "serverTimestamp": round(now_s * 1000)}
