"""Do the stations' panels say what the hub says? Pure: statuses and the hub's open calls in, disagreements out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from intercomd.core.legs import HubCall, LegState
from intercomd.core.vocabulary import HubPhase

RESTING = ("idle", "ringing", "connected")
"""Every other phase is on its way to one of these."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a station shows."""

    phase: str
    call_id: str = ""
    role: str = ""
    epoch: int = 0
    registered: bool = True
    card_ready: bool = True
    ringing: str = "off"
    talking: str = "off"
    ready: str = "on"
    microphone: bool = False

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Self:
        """From a station's status."""
        call, patterns = status["call"] or {}, status["panel"]["patterns"]
        return cls(
            status["phase"],
            call.get("callId", ""),
            call.get("role", ""),
            call.get("epoch", 0),
            status["link"]["state"] == "registered",
            status["audio"]["card"] == "ready",
            patterns["ringing"],
            patterns["talking"],
            patterns["ready"],
            patterns["microphone"] == "on",
        )


def disagreements(stations: Mapping[str, Seen | None], calls: Sequence[HubCall]) -> list[str]:
    """What is not at rest, or not as the hub has it; empty when all is well. `calls`: the hub's open ones."""
    found = []
    for name, seen in stations.items():
        if seen is None:
            found.append(f"{name} does not answer")
            continue
        found += [f"{name} {trouble}" for trouble in (*_panel(seen), *_against_hub(name, seen, calls))]
    return found


def _panel(seen: Seen) -> list[str]:
    """Lamps, link and card."""
    found = []
    if not seen.registered:
        found.append("is not registered")
    if not seen.card_ready:
        found.append("has no card")
    if seen.phase not in RESTING:
        found.append(f"is {seen.phase}")
        return found
    lamps = {"idle": ("off", "off"), "connected": ("off", "on")}
    ringing = ("fast" if seen.role == "callee" else "slow", "off")
    wanted = lamps.get(seen.phase, ringing)
    if (seen.ringing, seen.talking) != wanted:
        found.append(f"is {seen.phase} with the lamps ringing={seen.ringing}, talking={seen.talking}")
    if seen.registered and seen.card_ready and seen.ready != "on":
        found.append(f"is registered with ready={seen.ready}")
    if seen.microphone is not (seen.phase == "connected"):
        found.append(f"is {seen.phase} with the microphone {'open' if seen.microphone else 'closed'}")
    return found


def _against_hub(name: str, seen: Seen, calls: Sequence[HubCall]) -> list[str]:
    part = next(((call, leg) for call in calls for leg in call.open_legs if leg.party.identity == name), None)
    if part is None:
        return [] if seen.phase == "idle" else [f"is {seen.phase} in {seen.call_id}, and the hub knows of no call"]
    call, leg = part
    if seen.phase == "idle":
        return [f"is idle, and the hub has it in {call.call_id} ({call.phase.value})"]
    if call.call_id != seen.call_id:
        return [f"is in {seen.call_id}, and the hub has it in {call.call_id}"]
    is_ringing = call.phase is HubPhase.RINGING
    if (seen.phase == "ringing") is not is_ringing:
        return [f"is {seen.phase}, and for the hub the call is {call.phase.value}"]
    if seen.phase == "ringing" and (seen.role == "callee") is not (leg.state is LegState.RINGING):
        return [f"is the {seen.role}, and its leg is {leg.state.value}"]
    if seen.phase == "connected" and seen.epoch != call.epoch:
        return [f"is in epoch {seen.epoch}, and the hub in {call.epoch}"]
    return []
