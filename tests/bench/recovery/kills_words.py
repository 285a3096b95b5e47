"""Where a process was when it was killed, in words; and the table of all kills. Pure."""

from collections.abc import Mapping, Sequence

from tests.bench.recovery.kills_agreement import Seen
from tests.bench.recovery.kills_house import Flash
from tests.bench.recovery.kills_scenes import HUB

ADVANCE = (
    "starting", "idle", "ending", "dialling", "calling", "waiting for the card", "ringing in", "ringing out",
    "connecting", "restoring", "reconnecting", "connected",
)  # fmt: skip
PHASES = ("starting", "idle", "idle, records wait", *ADVANCE[2:])
"""In the order of the table."""


def phase_of(seen: Seen) -> str:
    match seen.phase:
        case "initializing":
            return "dialling"
        case "permission":
            return "waiting for the card"
        case "ringing":
            return "ringing in" if seen.role == "callee" else "ringing out"
        case "reconnecting" | "connecting" if not seen.registered and not seen.microphone:
            return "restoring"
        case phase:
            return phase


def refined(phase: str, flash: Flash) -> str:
    """The panel is some milliseconds late, and does not tell all; flash knows what was written last."""
    if phase in ("starting", "restoring", "reconnecting"):
        return phase
    match flash.saved:
        case "" if phase in ("idle", "ending"):
            return "idle, records wait" if flash.waiting and phase == "idle" else phase
        case "":
            return phase if phase == "dialling" else "ending"
        case "dialling" if phase in ("idle", "dialling"):
            return "dialling"
        case "dialling" if phase == "connecting":
            return "calling"
        case "ringing":
            return "ringing in"
        case "connected" if phase in ("idle", "ringing in", "ringing out", "calling"):
            return "connecting"
    return phase


def company(victims: Sequence[str]) -> str:
    stations = sum(name != HUB for name in victims)
    if HUB not in victims:
        return "station" if stations == 1 else "both"
    return "hub" if not stations else "hub + station"


KINDS = ("station", "both", "hub", "hub + station")


def table(phases: Mapping[tuple[str, str], int]) -> str:
    """Killed processes by phase and company."""
    rows = [("PHASE", *(kind.upper() for kind in KINDS), "ALL")]
    for phase in PHASES:
        counts = [phases.get((phase, kind), 0) for kind in KINDS]
        if sum(counts):
            rows.append((phase, *map(str, counts), str(sum(counts))))
    return "\n".join("    " + line[0].ljust(22) + "".join(cell.rjust(15) for cell in line[1:]) for line in rows)
