"""One house, scene after scene: people call, processes are killed, all must come to rest, everything is noted."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from intercomd.core.legs import HubCall
from intercomd.demo.control import ControlError
from intercomd.demo.journal import JournalLine
from intercomd.demo.supervisor import ProcessState, ProcessView
from tests.bench.recovery.kills_agreement import Seen, disagreements
from tests.bench.recovery.kills_audit import Finding, Story, audit
from tests.bench.recovery.kills_house import (
    GRACE_S,
    RING_S,
    Eyes,
    KillHouse,
    books,
    flash_of,
    open_calls,
    waiting_records,
)
from tests.bench.recovery.kills_scenes import HUB, STATIONS, Aim, Kill, Press, Scene
from tests.bench.recovery.kills_words import ADVANCE, company, phase_of, refined

SETTLE_LIMIT_S = GRACE_S + 10.0
"""The longest rule, the grace, and what a start and a connection take. Most need 4 s."""
LEAD_LIMIT_S = 10.0
"""A plain call in a house where all is well."""
REACTION_LIMIT_S = 4.0
"""From a hang-up to lamps that are out, everywhere."""
UPLOAD_LIMIT_S = 20.0
LOOK_S = 0.05
SILENCE_DBFS = -50.0
SHOWN_LINES = 70
SHOWN_FIELDS = ("ERROR_CODE", "CALL_ID", "EPOCH", "PHASE", "REASON")
ENDS = frozenset(
    {
        "CALL_ENDED", "CALL_FAILED", "CALLEE_OFFLINE", "CALLEE_BUSY", "CALL_REJECTED", "CALL_NOT_ALLOWED",
        "RING_TIMEOUT", "PEER_LOST", "MEDIA_FAILED", "SETUP_TIMEOUT", "CARD_MISSING", "CARD_BUSY", "CARD_DENIED",
        "HUB_UNREACHABLE", "HUB_LOST", "CALL_NOT_RESTORED",
    }
)  # fmt: skip
"""With a call's id, these say that the station has written its record of it."""


@dataclass(slots=True)
class Tally:
    """Of a whole run, all houses."""

    kills: int = 0
    """Moments at which something was killed."""
    phases: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Killed processes by (phase, who died)."""
    settled_s: list[float] = field(default_factory=list)
    """From the last kill of a scene until all panels and the hub agreed."""
    survived: int = 0
    surviving: int = 0
    """Connected calls that nobody ended, and those of them that were connected again."""
    calls: int = 0
    records: int = 0
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    """With the scene's name: the seed that brings it back."""


class Stage:
    """`async with Stage(house, tally) as stage: await stage.play(scene)…; await stage.close_books()`."""

    def __init__(self, house: KillHouse, tally: Tally, settle_limit_s: float = SETTLE_LIMIT_S) -> None:
        self._house = house
        self._tally = tally
        self._settle_limit_s = settle_limit_s
        self._eyes = Eyes(house.stations, self._heard)
        self._stories: dict[str, Story] = {}
        self._lines: list[JournalLine] = []
        self._condemned: dict[str, tuple[str, str]] = {}
        self._scene = ""
        self._began_s = 0.0
        self._pressed: dict[str, set[str]] = {}
        self._answered: set[str] = set()

    async def __aenter__(self) -> "Stage":
        self._unfollow = (
            self._house.journal.follow(self._noted),
            self._house.supervisor.follow(self._died),
        )
        await self._eyes.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._eyes.__aexit__()
        for unfollow in self._unfollow:
            unfollow()

    # ------------------------------------------------------------------------------------------------------ a scene

    async def play(self, scene: Scene) -> bool:
        """False when the house did not come to rest: nothing more can be learned in it."""
        self._scene, self._began_s = scene.name, time.time()
        if not await self._lead(scene):
            await self._found(Finding("stuck", f"{scene}: {scene.aim} was not reached: {self._shown()}"))
        for deed in scene.deeds:
            await asyncio.sleep(deed.after_s)
            if isinstance(deed, Kill):
                self._kill(deed.victims)
            else:
                await self._press(deed)
        killed_s = time.monotonic()
        left = await self._rest(self._settle_limit_s)
        if left:
            await self._found(Finding("stuck", f"{scene}: after {self._settle_limit_s:g} s {'; '.join(left)}"))
        else:
            self._tally.settled_s.append(time.monotonic() - killed_s)
            await self._judge_survival(scene)
        return await self._end(scene)

    async def _lead(self, scene: Scene) -> bool:
        """Bring it as far as the scene wants it. True if it came there."""
        aim, caller, callee = scene.aim, scene.caller, scene.callee
        match aim:
            case Aim.IDLE:
                return True
            case Aim.STARTING:
                self._kill(scene.deeds[0].victims if isinstance(scene.deeds[0], Kill) else (callee,))
                return True
        await self._order(caller, "call", peer=scene.target)
        if aim is Aim.GLARE:
            await self._order(callee, "call", peer=caller)
            self._answered.add(self._scene)
        if aim in (Aim.DIALLING, Aim.GLARE):
            return True
        if not await self._until(caller, callee, "ringing"):
            return False
        if aim is Aim.RINGING:
            return True
        await self._order(callee, "answer")
        if aim is Aim.ANSWERING:
            return True
        return await self._until(caller, callee, "connected") and await self._lead_on(scene)

    async def _lead_on(self, scene: Scene) -> bool:
        """From a call that is connected."""
        caller, callee = scene.caller, scene.callee
        match scene.aim:
            case Aim.THIRD:
                await self._order(scene.third, "call", peer=caller)
            case Aim.ENDING:
                await self._order(scene.ends, "hangup")
            case Aim.RECONNECTING:
                self._kill((callee,))
                await self._eyes.until(lambda: self._phase(caller) == "reconnecting", REACTION_LIMIT_S)
            case Aim.RECORDS:
                self._kill((HUB,))
                await self._eyes.until(lambda: not self._registered(caller, callee), REACTION_LIMIT_S)
                await self._order(caller, "hangup")
                await self._order(callee, "hangup")
        return True

    async def _judge_survival(self, scene: Scene) -> None:
        if not scene.survives:
            return
        self._tally.surviving += 1
        ends = [self._eyes.seen[name] for name in (scene.caller, scene.callee)]
        if all(seen is not None and seen.phase == "connected" for seen in ends):
            self._tally.survived += 1
        else:
            await self._found(Finding("dropped", f"{scene}: nobody hung up, and now {self._shown()}"))

    async def _end(self, scene: Scene) -> bool:
        """Everybody idle. True if it came to that."""
        if scene.ends:
            await self._hang_up(scene.ends)
            limit_s = REACTION_LIMIT_S
        else:
            limit_s = RING_S + REACTION_LIMIT_S
        if await self._idle(limit_s):
            return True
        for name in STATIONS:
            await self._hang_up(name)
        if await self._idle(self._settle_limit_s):
            return True
        await self._found(Finding("stuck", f"{scene}: everybody hung up, and still {self._shown()}"))
        return False

    # ------------------------------------------------------------------------------------------------ hands and eyes

    def _kill(self, victims: Sequence[str]) -> None:
        """All of them in one go; those that are dead already do not count."""
        kind = company(victims)
        labels = {name: (self._label(name), kind) for name in victims}
        dead = [name for name in victims if self._house.supervisor.kill(name)]
        for name in dead:
            self._condemned[name] = labels[name]
            if name != HUB:
                self._eyes.forget(name)
        self._tally.kills += bool(dead)

    def _died(self, view: ProcessView) -> None:
        """Between a life and the next: now its flash can be looked at."""
        if view.state is not ProcessState.WAITING or view.name not in self._condemned:
            return
        phase, kind = self._condemned.pop(view.name)
        if view.name != HUB:
            phase = refined(phase, flash_of(self._house.household.station(view.name)))
        self._tally.phases[phase, kind] += 1

    def _label(self, name: str) -> str:
        if name == HUB:
            labels = [self._label(station) for station in STATIONS]
            return max(labels, key=ADVANCE.index)
        seen = self._eyes.seen[name]
        return "starting" if seen is None else phase_of(seen)

    async def _press(self, press: Press) -> None:
        if press.command == "hangup":
            await self._hang_up(press.station)
        else:
            await self._order(press.station, press.command)

    async def _hang_up(self, station: str) -> None:
        seen = self._eyes.seen[station]
        if seen is not None and seen.phase != "idle":
            await self._order(station, "hangup")

    async def _order(self, station: str, command: str, **arguments: str) -> None:
        """A dead panel does nothing, and a station may have no use for the button."""
        if command == "hangup":
            self._pressed.setdefault(self._scene, set()).add(station)
        if command == "answer":
            self._answered.add(self._scene)
        with suppress(ControlError):
            await self._house.ask(station, command, **arguments)

    def _heard(self, station: str, seen: Seen) -> None:
        if not seen.call_id:
            return
        story = self._stories.setdefault(seen.call_id, Story(seen.call_id, self._scene))
        if seen.role == "caller":
            story.caller = station
        story.acknowledged |= seen.phase in ("ringing", "connected", "reconnecting")
        if seen.phase == "connected":
            story.connected.add(station)

    def _noted(self, line: JournalLine) -> None:
        self._lines.append(line)
        code, call_id = line.fields.get("ERROR_CODE", ""), line.fields.get("CALL_ID", "")
        if call_id and line.source != HUB and code in ENDS:
            self._stories.setdefault(call_id, Story(call_id, self._scene)).ends.add(line.source)

    # -------------------------------------------------------------------------------------------------------- waiting

    def _phase(self, name: str) -> str:
        seen = self._eyes.seen[name]
        return seen.phase if seen is not None else ""

    def _registered(self, *names: str) -> bool:
        return any(seen is not None and seen.registered for seen in map(self._eyes.seen.get, names))

    async def _until(self, caller: str, callee: str, phase: str) -> bool:
        return await self._eyes.until(lambda: self._phase(caller) == self._phase(callee) == phase, LEAD_LIMIT_S)

    def _calls(self) -> Sequence[HubCall]:
        return open_calls(self._house.household.hub_database)

    def _disagreements(self) -> list[str]:
        try:
            return disagreements(self._eyes.seen, self._calls())
        except sqlite3.Error as error:
            return [f"the hub's books cannot be read: {error}"]

    async def _rest(self, limit_s: float) -> list[str]:
        """Wait until all agree, twice in a row; what they still disagree about after the limit."""
        deadline_s, agreed = time.monotonic() + limit_s, 0
        while agreed < 2:
            left = self._disagreements()
            agreed = 0 if left else agreed + 1
            if left and time.monotonic() > deadline_s:
                return left
            await asyncio.sleep(LOOK_S)
        return []

    async def _idle(self, limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while any(self._phase(name) != "idle" for name in STATIONS) or self._disagreements():
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    # -------------------------------------------------------------------------------------------------------- the books

    async def close_books(self) -> None:
        """Everybody uploads and stops; then what happened is held against what is written."""
        await self._uploaded()
        for name in await self._sounding():
            await self._found(Finding("stuck", f"{name} is idle, and a tone still sounds there"))
        for name in (*STATIONS, HUB):
            await self._house.supervisor.stop(name)
        written = books(self._house.household.hub_database, self._house.stations)
        for story in self._stories.values():
            story.hung_up = self._pressed.get(story.scene, set())
            story.answerable = story.scene in self._answered
        self._tally.calls += len(self._stories)
        self._tally.records += len(written.records)
        for finding in audit(self._stories, written, RING_S):
            known = self._stories.get(finding.call_id)
            self._scene = known.scene if known is not None else "the end"
            await self._found(finding)

    async def _uploaded(self) -> None:
        deadline_s = time.monotonic() + min(UPLOAD_LIMIT_S, self._settle_limit_s)
        while any(map(waiting_records, self._house.stations)) and time.monotonic() < deadline_s:
            await asyncio.sleep(LOOK_S)

    async def _sounding(self) -> list[str]:
        """Where something is to be heard although nobody speaks: not even the tone of a failed call lasts so long."""
        deadline_s = time.monotonic() + REACTION_LIMIT_S
        while sounding := [name for name in STATIONS if await self._level_dbfs(name) > SILENCE_DBFS]:
            if time.monotonic() > deadline_s:
                return sounding
            await asyncio.sleep(LOOK_S)
        return []

    async def _level_dbfs(self, name: str) -> float:
        with suppress(ControlError):
            status = await self._house.status(name)
            return float(status["audio"]["playout"]["level_dbfs"])
        return 0.0

    def _shown(self) -> str:
        shown = {name: f"{seen.phase} {seen.call_id}" if seen else "dead" for name, seen in self._eyes.seen.items()}
        return "; ".join((*(f"{name} {what}" for name, what in shown.items()), *self._disagreements()))

    async def _found(self, finding: Finding) -> None:
        """Told at once, with everybody's lines around it."""
        self._tally.findings.append((self._scene, finding))
        lines = self._lines_about(finding.call_id)[-SHOWN_LINES:]
        print(f"\n    FOUND {finding.kind}, SEED={self._scene}: {finding.text} {finding.call_id}", flush=True)
        for line in lines:
            fields = {
                k: v for k, v in line.fields.items() if k in ("ERROR_CODE", "CALL_ID", "EPOCH", "REASON", "PHASE")
            }
            print(f"      {line.at_s % 1000:8.3f} {line.source:8} {line.message[:110]} {fields}", flush=True)

    def _lines_about(self, call_id: str) -> list[JournalLine]:
        if not call_id:
            return [line for line in self._lines if line.at_s >= self._began_s - 0.5]
        about = [line.at_s for line in self._lines if line.fields.get("CALL_ID") == call_id]
        if not about:
            return []
        return [line for line in self._lines if min(about) - 1 <= line.at_s <= max(about) + 1]
