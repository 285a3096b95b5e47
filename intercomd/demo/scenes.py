"""The scenes of the scripted run, in their order. Each leaves checks behind and says which record the hub must have."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from intercomd.demo.stage import Expected, Hearing, Late, Stage, length_s
from intercomd.demo.supervisor import ProcessState

SAME_VOICE = 0.6
SPEECH_S = 6.0
"""Five seconds of speech and the pause between two sentences."""
BEFORE_KILL_S = 1.0
IN_FLIGHT_S = 0.3
"""What was on its way at the kill has been played by then; a new process cannot have spoken yet."""
RESTORE_LIMIT_S = 30.0
RESTORE_TARGET_S = 3.0
BUTTONS = ("call", "hangup", "speaker", "unlock")

Scene = Callable[[Stage], Awaitable[None]]


async def talk(stage: Stage) -> None:
    """The whole of one call: ring, answer, speak, toggle, survive a kill, hang up."""
    call_id = await _ring(stage)
    stage.expected.append(Expected(call_id, "the call that was killed in its middle", "completed", "completed"))
    await _answer(stage)
    await _speech(stage)
    await _muted(stage)
    await _toggle(stage)
    await _door(stage, call_id)
    await _kill(stage)
    await stage.press("door", "hangup")
    await stage.phase("door", "idle")
    await stage.phase("flat", "idle")
    stage.findings.check("hang-up at the door: both stations are idle", True)


async def rejected(stage: Stage) -> None:
    """The flat refuses."""
    call_id = await _ringing(stage, "door", "flat")
    stage.expected.append(Expected(call_id, "the rejected call", "rejected", "rejected"))
    await stage.press("flat", "hangup")
    await _fails(stage, "the flat rejects: the door says so", "door", "CALL_REJECTED")
    await stage.phase("flat", "idle")


async def timed_out(stage: Stage) -> None:
    """Nobody answers."""
    began_s = time.monotonic()
    call_id = await _ringing(stage, "door", "flat")
    stage.expected.append(Expected(call_id, "the call that nobody answered", "missed", "timeout"))
    await _fails(stage, "nobody answers: the door says so", "door", "RING_TIMEOUT")
    stage.findings.figure("press → ringing given up", time.monotonic() - began_s, "s")
    await stage.phase("flat", "idle")


async def busy(stage: Stage) -> None:
    """The kitchen talks with the flat; the door rings there."""
    kitchens = await _ringing(stage, "kitchen", "flat")
    stage.expected.append(Expected(kitchens, "the kitchen's call", "completed", "completed"))
    await _accept(stage, "kitchen", "flat")
    pressed = await stage.press("door", "call")
    await _fails(stage, "the flat is busy: the door says so", "door", "CALLEE_BUSY")
    doors = await _journal_call(stage, "door", "CALL_DIALLED", pressed.at_ns)
    stage.expected.append(Expected(doors, "the call that met busy", "missed", "busy"))
    still = await stage.house.status("flat")
    undisturbed = still["phase"] == "connected" and still["call"]["callId"] == kitchens
    stage.findings.check("the flat's own call goes on, undisturbed", undisturbed)
    await stage.press("kitchen", "hangup")
    await stage.phase("flat", "idle")


async def several(stage: Stage) -> None:
    """The door rings the whole home; the flat answers, the kitchen stops ringing."""
    await stage.house.ask("door", "call", peer="home")
    flat = await stage.phase("flat", "ringing")
    kitchen = await stage.phase("kitchen", "ringing")
    call_id = flat["call"]["callId"]
    same = call_id == kitchen["call"]["callId"]
    stage.findings.check("the door rings the home: flat and kitchen ring with one call", same)
    stage.expected.append(Expected(call_id, "the call to the whole home", "completed", "completed"))
    await _accept(stage, "door", "flat")
    await stage.phase("kitchen", "idle")
    told = [
        line.fields.get("REASON", "")
        for line in stage.house.journal.lines()
        if line.source == "kitchen" and line.fields.get("CALL_ID") == call_id
    ]
    stage.findings.check(
        "the kitchen stops: answered elsewhere", any("answered_elsewhere" in reason for reason in told)
    )
    await stage.press("door", "hangup")
    await stage.phase("flat", "idle")


SCENES: tuple[tuple[str, Scene, float], ...] = (
    ("a call from press to hang-up, with a kill in its middle", talk, 110.0),
    ("a call that is rejected", rejected, 25.0),
    ("a call that nobody answers", timed_out, 30.0),
    ("a call that meets busy", busy, 40.0),
    ("a call that rings several", several, 30.0),
)
"""Title, scene, and the limit in seconds after which it has failed."""


# ------------------------------------------------------------------------------------------------ parts of `talk`


async def _ring(stage: Stage) -> str:
    pressed = await stage.press("door", "call")
    rang_ms = await stage.edge_after(pressed, "flat", "ringing")
    status = await stage.phase("flat", "ringing")
    await stage.phase("door", "ringing")
    stage.findings.check("press at the door: the flat rings, by LED and by phase", True)
    stage.findings.figure("press at the door → ringing LED at the flat", rang_ms, "ms", at_most=50)
    return str(status["call"]["callId"])


async def _answer(stage: Stage) -> None:
    pressed = await stage.press("flat", "call")
    await stage.phase("flat", "connected")
    await stage.phase("door", "connected")
    talking_ms = await stage.edge_after(pressed, "flat", "microphone")
    stage.findings.check("answer at the flat: both stations are connected", True)
    stage.findings.figure("press at the flat → its microphone LED", talking_ms, "ms")


async def _speech(stage: Stage) -> None:
    flat, door = await stage.hear([Hearing("door", "flat_handset"), Hearing("flat", "door_spk")], SPEECH_S)
    _heard(stage, "5 s of speech: the flat hears the door", flat)
    _heard(stage, "5 s of speech: the door hears the flat", door)


async def _muted(stage: Stage) -> None:
    """The control: the judges must not hear what nobody says."""
    stage.house.cards.hush("door")
    flat, door = await stage.hear([Hearing("door", "flat_handset"), Hearing("flat", "door_spk")], SPEECH_S)
    stage.house.cards.speak("door")
    name = "control, the door muted: the same judge hears nothing at the flat"
    stage.findings.check(name, flat < SAME_VOICE, flat, "correlation", f"< {SAME_VOICE}")
    _heard(stage, "control, the door muted: the door still hears the flat", door)


async def _toggle(stage: Stage) -> None:
    before = (await stage.house.status("flat"))["audio"]["route"]
    await stage.press("flat", "speaker")
    await stage.see("flat", "uses its loudspeaker", lambda status: status["audio"]["route"] == "speaker")
    stage.findings.check(
        "speaker button at the flat: handset → loudspeaker", before == "handset", f"{before} → speaker"
    )
    speaker, handset, door = await stage.hear(
        [Hearing("door", "flat_spk"), Hearing("door", "flat_handset"), Hearing("flat", "door_spk")], SPEECH_S
    )
    _heard(stage, "after it the door is heard on the loudspeaker", speaker)
    stage.findings.check(
        "and no longer in the handset", handset < SAME_VOICE, handset, "correlation", f"< {SAME_VOICE}"
    )
    _heard(stage, "and the door still hears the flat", door)


async def _door(stage: Stage, call_id: str) -> None:
    """The flat lets in who stands at the door; the kitchen, which does not talk with it, cannot."""
    since_ns = time.monotonic_ns()
    refused = await stage.house.try_door("kitchen", "door")
    stage.findings.check("the kitchen, outside the call, is refused the door", refused is not None, refused or "opened")
    pressed = await stage.press("flat", "unlock")
    opened_ms = await stage.edge_after(pressed, "door", "door")
    stage.findings.check("door button at the flat: the door's relay has switched", True)
    stage.findings.figure("door button at the flat → relay at the door", opened_ms, "ms")
    await stage.see("door", "shuts again", lambda status: not status["panel"]["outputs"]["door"])
    told = await _journal_call(stage, "hub", "DOOR_OPENED", since_ns)
    stage.findings.check("the hub's journal names the opening's call", told == call_id)


async def _kill(stage: Stage) -> None:
    async with stage.recording(["flat_spk", "door_spk"]) as (flat_room, door_room):
        await asyncio.sleep(BEFORE_KILL_S)
        edges = len(stage.edges.seen)
        killed_at = {"flat": length_s(flat_room), "door": length_s(door_room)}
        stage.house.supervisor.kill("flat")
        stage.findings.say("kill −9 of the flat's daemon")
        await stage.phase("door", "reconnecting")
        stage.findings.check("kill −9 of the flat: the door shows reconnecting", True)
        await stage.phase("flat", "connected", RESTORE_LIMIT_S)
        await stage.phase("door", "connected", RESTORE_LIMIT_S)
        await asyncio.sleep(SPEECH_S + 1.0)
    view = stage.house.supervisor.view("flat")
    restarted = view.state is ProcessState.RUNNING and view.starts == 2
    stage.findings.check("its supervisor has started it again, once", restarted, view.starts - 1, "restart")
    presses = [edge for edge in stage.edges.seen[edges:] if edge.line in BUTTONS]
    stage.findings.check("nobody has pressed anything", not presses, len(presses), "presses")
    back = [
        await _back_s(stage, "the flat hears the door", "door", flat_room, killed_at["flat"]),
        await _back_s(stage, "the door hears the flat", "flat", door_room, killed_at["door"]),
    ]
    stage.findings.figure("kill → audio both ways again", max(back), "s", at_most=RESTORE_TARGET_S)


async def _back_s(stage: Stage, what: str, speaker: str, room: Any, killed_at_s: float) -> float:
    """Seconds from the kill until the voice was back, and whether it stayed."""
    at_s = await stage.returns_s(speaker, room, killed_at_s + IN_FLIGHT_S)
    if at_s is None:
        raise Late(f"{what}: not again after the kill, in {length_s(room) - killed_at_s:.1f} s of recording")
    stage.findings.figure(f"kill → {what} again", at_s - killed_at_s, "s")
    _heard(stage, f"after the kill {what} again", await stage.judge(speaker, stage.cut(room, at_s - 0.4)))
    return at_s - killed_at_s


# ------------------------------------------------------------------------------------------------- parts of others


def _heard(stage: Stage, name: str, correlation: float) -> None:
    stage.findings.check(name, correlation >= SAME_VOICE, correlation, "correlation", f"≥ {SAME_VOICE}")


async def _ringing(stage: Stage, caller: str, callee: str) -> str:
    """A press at the caller, ringing at both; returns the call's id."""
    await stage.press(caller, "call")
    status = await stage.phase(callee, "ringing")
    return str(status["call"]["callId"])


async def _accept(stage: Stage, caller: str, callee: str) -> None:
    await stage.press(callee, "call")
    await stage.phase(callee, "connected")
    await stage.phase(caller, "connected")


async def _fails(stage: Stage, name: str, station: str, code: str) -> None:
    """The station ends idle, and its error says why."""

    def so(status: dict[str, Any]) -> bool:
        return status["phase"] == "idle" and status["error"] is not None

    status = await stage.see(station, "is idle and says why", so)
    said = status["error"]["code"]
    stage.findings.check(name, said == code and bool(status["error"]["text"]["zh"]), status["error"]["text"]["en"])


async def _journal_call(stage: Stage, station: str, code: str, since_ns: int) -> str:
    """The id of the call that the station's newest such line is about: a call that fails at once is in no status."""
    since_s = time.time() - (time.monotonic_ns() - since_ns) / 1e9
    lines = [
        line
        for line in stage.house.journal.lines()
        if line.source == station and line.fields.get("ERROR_CODE") == code and line.at_s >= since_s - 0.01
    ]
    if not lines:
        raise Late(f"{station} has written no {code} line about its call")
    return lines[-1].fields["CALL_ID"]
