"""Call records as a sheet: CSV as RFC 4180 has it (CRLF, quotes doubled), in UTF-8.

Names come from other people, and spreadsheets carry out cells that begin like a formula: such a cell gets an
apostrophe in front (OWASP, CSV injection)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from intercomd.core.vocabulary import Metrics
from intercomd.hub.history.archive import LegReport, RecordReport
from intercomd.hub.history.figures import loss_ratio

BYTE_ORDER_MARK: Final = "\ufeff"
"""Without it Excel takes UTF-8 for the machine's old code page."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_QUOTED: Final = frozenset('",\r\n')
_SIDES: Final = ("caller", "callee")
_FIGURES: Final = (
    "mos", "loss_ratio", "concealed_ratio", "jitter_s", "round_trip_s", "mouth_to_ear_s", "connection_time_s",
)  # fmt: skip

Cell = str | float | None

HEADER: Final = (
    "call_id", "reported_by", "caller", "recipient", "callee", "conversation", "created_at", "answered_at", "ended_at",
    "duration_s", "outcome", "reason", "ended_by", "rung",
    *(f"{side}_{figure}" for side in _SIDES for figure in _FIGURES),
)  # fmt: skip


def line(cells: Iterable[Cell]) -> str:
    """One record of the sheet, with its CRLF."""
    return ",".join(_written(cell) for cell in cells) + "\r\n"


def cells(record: RecordReport) -> tuple[Cell, ...]:
    """In the order of `HEADER`."""
    by_role = {leg.role: leg for leg in record.legs}
    return (
        record.call_id, record.reported_by, record.caller_id, record.recipient_id, record.callee_id,
        record.conversation_id, _moment(record.created_at), _moment(record.answered_at), _moment(record.ended_at),
        record.duration, record.outcome, record.reason, record.ender_id,
        "; ".join(rung.identity for rung in record.rung) or None,
        *(figure for side in _SIDES for figure in _figures(by_role.get(side))),
    )  # fmt: skip


def _figures(leg: LegReport | None) -> tuple[Cell, ...]:
    heard = leg.metrics if leg is not None else Metrics()
    return (
        heard.mos, loss_ratio(heard.audio_packets_lost, heard.audio_packets_received), heard.concealed_ratio,
        heard.jitter, heard.round_trip_time, heard.mouth_to_ear, heard.connection_time,
    )  # fmt: skip


def _moment(at_s: float | None) -> str | None:
    """RFC 3339, in UTC. A station without a clock may have reported any number."""
    if at_s is None:
        return None
    try:
        return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return repr(round(cell, 6))
    text = f"'{cell}" if cell.startswith(_FORMULA) else cell
    return '"' + text.replace('"', '""') + '"' if _QUOTED & set(text) else text
