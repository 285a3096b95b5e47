"""The station's status as INTERFACES.md defines it: what `intercomctl`, the panel page and tests read."""

from collections.abc import Mapping
from typing import Any

from intercomd import __version__
from intercomd.core.effects import Light
from intercomd.core.panel import View
from intercomd.core.snapshot import Role
from intercomd.core.station import Shown, Station
from intercomd.core.vocabulary import Metrics, encode
from intercomd.errors import ErrorKind
from intercomd.media.canceller import VoiceStatus
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ
from intercomd.ports import Levels, LinkStatus
from intercomd.texts import both

_NO_PROCESSING = VoiceStatus()


def text_key(station: Station, phase: Shown) -> str:
    """The key of the phase's text; ringing reads differently at both ends, and so does what nobody has answered."""
    call = station.call
    match phase:
        case Shown.RINGING if call is not None and call.auto:
            return "phase.ringing_auto"
        case Shown.RINGING if call is not None:
            return "phase.ringing_caller" if call.role is Role.CALLER else "phase.ringing_callee"
        case Shown.CONNECTED if call is not None and call.auto:
            return "phase.connected_auto"
        case Shown.CONNECTING if call is not None and call.queued is not None:
            return "phase.queued"
        case _:
            return f"phase.{phase.value}"


def words(station: Station, phase: Shown) -> dict[str, str]:
    """The phase's text in every language."""
    position = station.call.queued if station.call is not None else None
    return {language: said.format(position=position) for language, said in both(text_key(station, phase)).items()}


def status(
    station: Station,
    view: View,
    link: LinkStatus,
    levels: Levels,
    pins: Mapping[str, bool],
    patterns: Mapping[str, Light],
    quality: Metrics | None,
    *,
    name: str,
    first_voice_ns: int | None,
    process: Mapping[str, int],
    store_failing: bool,
    buttons: frozenset[str],
    outputs: frozenset[str],
    ice: Mapping[str, Any],
    card_reason: str = "",
    drift_ppm: float = 0.0,
    voice: VoiceStatus = _NO_PROCESSING,
) -> dict[str, Any]:
    """A JSON-like dict. `first_voice_t_ns` is CLOCK_MONOTONIC, as the times of edges are."""
    call = station.call
    return {
        "phase": view.phase.value,
        "text": words(station, view.phase),
        "call": None
        if call is None
        else {
            "callId": call.call_id,
            "peer": call.peer_id,
            "peerName": call.peer_name,
            "role": call.role.value,
            "epoch": call.epoch,
            "since": call.answered_at or call.started_at,
            "auto": call.auto,
            "queued": call.queued,
        },
        "link": {
            "state": "registered" if station.registered else link.state,
            "age_s": None if link.age_s is None else round(link.age_s, 2),
            "failed_attempts": link.failed_attempts,
            "reason": link.reason,
        },
        "audio": {
            "card": station.card.value,
            "card_reason": card_reason,
            "capture": {"open": levels.capture_open, "level_dbfs": round(levels.capture_dbfs, 1)},
            "playout": {
                "open": levels.playout_open,
                "level_dbfs": round(levels.playout_dbfs, 1),
                "first_voice_t_ns": first_voice_ns,
            },
            "route": station.route.value,
            "volumes": {
                "voice": station.volumes.voice,
                "ring": station.volumes.ring,
                "prompts": station.volumes.prompts,
            },
            "xruns": levels.xruns,
            "drift_ppm": round(drift_ppm, 1),
            **_processing(voice),
        },
        "panel": {
            "leds": {line: lit for line, lit in pins.items() if line not in buttons | outputs},
            "outputs": {line: on for line, on in pins.items() if line in outputs},
            "buttons": {line: pressed for line, pressed in pins.items() if line in buttons},
            "patterns": {line: light.value for line, light in patterns.items()},
        },
        "ice": dict(ice),
        "error": _error(view),
        "quality": None if quality is None else encode(quality),
        "store": {"state": "failing" if store_failing else "ok"},
        "process": dict(process),
        "name": name,
        "version": __version__,
    }


def _processing(voice: VoiceStatus) -> dict[str, Any]:
    return {
        "processing": list(voice.parts),
        "erle_db": None if voice.erle_db is None else round(voice.erle_db, 1),
        "echo_delay_ms": None if voice.echo_delay_ms is None else round(voice.echo_delay_ms, 1),
        "half_duplex": voice.half_duplex,
        "processing_cpu": round(voice.period_cpu_s * RATE_HZ / PERIOD_FRAMES, 4),
    }


def _error(view: View) -> dict[str, Any] | None:
    if view.error is None:
        return None
    kind = view.error.value.kind
    key = f"error.{kind.value}" if kind is not None and kind is not ErrorKind.UNKNOWN else f"code.{view.error.name}"
    return {"kind": kind.value if kind else None, "code": view.error.name, "text": both(key)}
