"""A participant's figures of a call, between the wire's names and the columns of `call_legs`."""

from typing import Any, Final

from intercomd.core.vocabulary import EndReason, Metrics

COLUMNS: Final[dict[str, str]] = {
    "connection_time": "connection_time_s",
    "audio_packets_lost": "packets_lost",
    "audio_packets_received": "packets_received",
    "jitter": "jitter_s",
    "round_trip_time": "round_trip_s",
    "call_duration": "duration_s",
    "buffer_delay": "buffer_delay_s",
    "buffer_target": "buffer_target_s",
    "mouth_to_ear": "mouth_to_ear_s",
} | {
    name: name
    for name in (
        "concealed_ratio", "played_frames", "recovered_frames", "concealed_frames", "concealments",
        "stretched_frames", "late_packets", "left_out_packets", "mos", "erle_db", "xruns", "drift_ppm", "cpu_ratio",
    )
}  # fmt: skip
"""A field of `Metrics` and its column. Columns carry their unit in the name."""


def leg_row(
    call_id: str, identity: str, role: str, metrics: Metrics | None, reason: EndReason | None = None
) -> dict[str, Any]:
    """A row of `call_legs`; what is not known is None."""
    figures = metrics or _NONE
    return {
        "call_id": call_id,
        "identity": identity,
        "role": role,
        "reported_reason": reason.value if reason else None,
        **{column: getattr(figures, name) for name, column in COLUMNS.items()},
    }


def metrics_of(row: Any) -> Metrics:
    """What a row of `call_legs` says."""
    return Metrics(**{name: getattr(row, column) for name, column in COLUMNS.items()})


def loss_ratio(lost: int | None, received: int | None) -> float | None:
    """Of all packets that were sent; None without any. RTP counts duplicates as negative losses (RFC 3550, 6.4.1)."""
    if lost is None or received is None:
        return None
    gone = max(0, lost)
    return gone / (gone + received) if gone + received else None


_NONE = Metrics()
