"""`intercomctl commission`: an installer proves each part of a station, and gets a certificate of it. What the station
knows by itself is read; what only a person at the panel can tell (which LED is lit, which button was felt) is asked."""

import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intercomd.ctl.connection import Connection, Silent
from intercomd.ctl.report import known, part, printable
from intercomd.texts import Language, text

PRESS_LIMIT_S = 30.0
SOUND_LIMIT_S = 10.0
POLL_S = 0.2
EDGE_LIMIT_S = 1.0
LINK_LIMIT_S = 15.0
"""A heartbeat each 5 s: three of them."""
LOUDER_DB = 6.0
YES = ("y", "yes", "j", "ja", "是", "")

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Proof:
    """One line of the certificate."""

    name: str
    ok: bool
    told: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """Of which station, when, and what was proven."""

    station: str
    version: str
    at_s: float
    proofs: Sequence[Proof]

    @property
    def ok(self) -> bool:
        return all(proof.ok for proof in self.proofs)

    def lines(self, language: Language) -> str:
        """For people."""
        say = _sayer(language)
        head = say("proof.head").format(station=self.station, host=socket.gethostname(), version=self.version)
        rows = [f"{say('proof.passed' if one.ok else 'proof.failed')}  {one.name}: {one.told}" for one in self.proofs]
        total = say("proof.total").format(passed=sum(one.ok for one in self.proofs), of=len(self.proofs))
        return "\n".join([head, time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(self.at_s)), "", *rows, "", total])

    def checks(self) -> dict[str, Any]:
        """For programs, as all results of the project are."""
        rows = [
            {"name": one.name, "kind": "check", "ok": one.ok, "value": one.told, "unit": "", "target": ""}
            for one in self.proofs
        ]
        return {"ok": self.ok, "station": self.station, "version": self.version, "at": self.at_s, "checks": rows}


def commission(path: str, language: Language, tell: Callable[[Proof], None]) -> Certificate:
    """Ask station and installer; each proof is told as soon as it is there. Raises what `Connection` raises."""
    with Connection(path) as connection:
        installer = _Installer(connection, path, language)
        status = installer.status()
        proofs = []
        try:
            for proof in installer.proofs(status):
                proofs.append(proof)
                tell(proof)
        finally:
            installer.order(end=True)
    return Certificate(printable(status.get("name", "?")), printable(status.get("version", "?")), time.time(), proofs)


class _Installer:
    """The dialogue: orders to the station, questions on standard error, answers from standard input."""

    def __init__(self, connection: Connection, path: str, language: Language) -> None:
        self._connection, self._path, self._language = connection, path, language
        self._say = _sayer(language)

    def status(self) -> Status:
        return part(self._connection.ask({"command": "status"}), "status")

    def order(self, **what: object) -> str:
        """What keeps the station from doing it; nothing if it does."""
        reply = self._connection.ask({"command": "prove", **what})
        return "" if reply.get("ok") is True else printable(reply.get("message") or "?")

    def proofs(self, status: Status) -> Iterator[Proof]:
        """Every part that this station has."""
        panel = part(status, "panel")
        yield self._hub(status)
        yield self._memory(status)
        yield self._card(status)
        for led in part(panel, "leds"):
            if led != "microphone":
                yield self._led(led)
        for button in part(panel, "buttons"):
            yield self._button(button)
        yield from self._sound(has_led="microphone" in part(panel, "leds"))
        if "door" in part(panel, "outputs"):
            yield self._door()

    def _hub(self, status: Status) -> Proof:
        link = part(status, "link")
        state, age_s = str(link.get("state", "")), link.get("age_s")
        heard = isinstance(age_s, int | float) and age_s < LINK_LIMIT_S
        told = known(f"ctl.link.{state}", state, self._language)
        return Proof(text("ctl.hub", self._language), state == "registered" and heard, told)

    def _memory(self, status: Status) -> Proof:
        state = str(part(status, "store").get("state", ""))
        return Proof(
            text("ctl.store", self._language), state == "ok", known(f"ctl.store.{state}", state, self._language)
        )

    def _card(self, status: Status) -> Proof:
        audio = part(status, "audio")
        state = str(audio.get("card", ""))
        told = f"{known(f'ctl.card.{state}', state, self._language)} {printable(audio.get('card_reason') or '')}"
        return Proof(text("ctl.card", self._language), state == "ready", told.strip())

    def _led(self, led: str) -> Proof:
        name = f"LED {known(f'led.{led}', led, self._language)}"
        if wrong := self.order(led=led):
            return Proof(name, False, wrong)
        return self._seen(name, self._say("proof.led").format(name=name))

    def _button(self, button: str) -> Proof:
        """Pressed and let go, and no other one felt instead: two wires that were swapped."""
        shown = known(f"button.{button}", button, self._language)
        name = self._say("proof.button").format(name=shown)
        if wrong := self.order():
            return Proof(name, False, wrong)
        with Connection(self._path, EDGE_LIMIT_S) as edges:
            edges.ask({"command": "edges"})
            self._tell(self._say("proof.press").format(name=shown, seconds=f"{PRESS_LIMIT_S:.0f}"))
            return self._felt(name, button, edges)

    def _felt(self, name: str, button: str, edges: Connection) -> Proof:
        deadline_s, pressed, buttons = time.monotonic() + PRESS_LIMIT_S, False, part(self._panel(), "buttons")
        while time.monotonic() < deadline_s:
            try:
                edge = edges.receive()
            except Silent:
                continue
            line, value = edge.get("line"), edge.get("value")
            if line == button and value is True:
                pressed = True
            elif line == button and pressed:
                return Proof(name, True, self._say("proof.felt"))
            elif line in buttons and value is True:
                other = known(f"button.{line}", str(line), self._language)
                return Proof(name, False, self._say("proof.other").format(name=other))
        return Proof(name, False, self._say("proof.stuck" if pressed else "proof.unfelt"))

    def _panel(self) -> Status:
        return part(self.status(), "panel")

    def _sound(self, *, has_led: bool) -> Iterator[Proof]:
        name = self._say("proof.sound")
        self._ask("proof.quiet")
        wrong = self.order(sound=True)
        yield Proof(name, False, wrong) if wrong else self._heard(name)
        yield self._seen(self._say("proof.melody"), self._say("proof.clear"))
        if has_led:
            led = f"LED {text('led.microphone', self._language)}"
            yield self._seen(led, self._say("proof.lamp").format(name=led))

    def _heard(self, name: str) -> Proof:
        deadline_s, sound = time.monotonic() + SOUND_LIMIT_S, dict[str, Any]()
        while time.monotonic() < deadline_s:
            sound = dict(part(part(self.status(), "proof"), "sound"))
            if sound.get("state") != "listening":
                break
            time.sleep(POLL_S)
        quiet, loud = sound.get("quiet_dbfs"), sound.get("sound_dbfs")
        if not (isinstance(quiet, int | float) and isinstance(loud, int | float)):
            return Proof(name, False, self._say("proof.deaf"))
        figures = self._say("proof.levels").format(quiet=f"{quiet:.0f}", loud=f"{loud:.0f}").replace("-", "−")
        return Proof(name, loud - quiet >= LOUDER_DB, figures)

    def _door(self) -> Proof:
        name = text("output.door", self._language)
        if not self._ask("proof.door"):
            return Proof(name, False, self._say("proof.untried"))
        reply = self._connection.ask({"command": "door"})
        if reply.get("ok") is not True:
            return Proof(name, False, printable(reply.get("message") or "?"))
        return self._seen(name, self._say("proof.opened"))

    def _seen(self, name: str, question: str) -> Proof:
        seen = self._asked(question)
        return Proof(name, seen, self._say("proof.seen" if seen else "proof.unseen"))

    def _ask(self, key: str) -> bool:
        return self._asked(self._say(key))

    def _asked(self, question: str) -> bool:
        """Return alone says yes; the end of the input says no to all that follows."""
        self._tell(question, end=" ")
        answer = sys.stdin.readline()
        return answer != "" and answer.strip().lower() in YES

    def _tell(self, words: str, end: str = "\n") -> None:
        sys.stderr.write(f"{words}{end}")
        sys.stderr.flush()


def _sayer(language: Language) -> Callable[[str], str]:
    return lambda key: text(f"ctl.{key}", language)
