"""The hub and two stations inside the machine: their buttons and LEDs from the outside of their lines, their voices
through the other side of their sound cards, their status as a technician asks for it."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from intercomd.demo import listen
from intercomd.demo.sound import SPEECH
from intercomd.media.pcm import Pcm
from tests.vm.disks import LIB
from tests.vm.machine import Machine, MachineError

STATIONS = ("door", "flat")
UNITS = {"door": "intercomd", "flat": "intercomd-flat"}
CREDENTIALS = {"door": "intercomd.hub-token", "flat": "flat.hub-token"}
CALL_LINE, HANGUP_LINE = 17, 27
RINGING_LINE, TALKING_LINE = 6, 13
DOOR_LINE = 12
CONFIG = "/etc/intercomd/intercomd.toml"
OTHER = {"door": "flat", "flat": "door"}
LOOK_EACH_S = 0.05


class Household:
    """What a person at the machine could do and see. Times are those of the clock inside."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    # ---- once per disk

    def enrol(self) -> None:
        """Make both stations known to the hub, and leave them their tokens."""
        for station in STATIONS:
            place = f"/etc/credstore/{CREDENTIALS[station]}"
            self.machine.run(
                f"umask 077; intercomd hub --config {CONFIG} add-station {station} --group home >{place}", limit_s=60
            )
        self.machine.run("systemctl enable --now --quiet intercomd intercomd-flat; sync", limit_s=120)

    # ---- seeing

    def now_s(self) -> float:
        """Since it was started."""
        return self.machine.run(":").now_s

    def status(self, station: str) -> dict[str, Any] | None:
        """What `intercomctl --json status` says; None while the station cannot be asked."""
        return self._looked(station)[0]

    def _looked(self, station: str) -> tuple[dict[str, Any] | None, float]:
        """The status, and when it was so."""
        asked = self.machine.ask(f"/run/{UNITS[station]}/control", '{"command": "status"}')
        return (json.loads(asked.text)["status"] if asked.status == 0 else None), asked.now_s

    def until(
        self, station: str, what: str, true: Callable[[dict[str, Any]], bool], limit_s: float = 30
    ) -> tuple[dict[str, Any], float]:
        """The first status for which it is true, and when that was. Raises `MachineError` after `limit_s`."""
        end_s = self.now_s() + limit_s
        while True:
            status, now_s = self._looked(station)
            if status is not None and true(status):
                return status, now_s
            if now_s > end_s:
                shown = None if status is None else (status["phase"], status["link"], status["audio"]["card"])
                raise MachineError(f"{station}: not {what} within {limit_s:g} s, but {shown}; {self.journal(station)}")
            time.sleep(LOOK_EACH_S)

    def until_phase(self, station: str, phase: str, limit_s: float = 30) -> tuple[dict[str, Any], float]:
        return self.until(station, phase, lambda status: status["phase"] == phase, limit_s)

    def until_ready(self, limit_s: float = 60) -> float:
        """Both registered with their cards open; when that was."""

        def ready(status: dict[str, Any]) -> bool:
            usable: bool = status["link"]["state"] == "registered" and status["audio"]["card"] == "ready"
            return usable

        return max(self.until(station, "ready", ready, limit_s)[1] for station in STATIONS)

    def lights(self, station: str, line: int, for_s: float = 2.0) -> list[bool]:
        """An LED's line as it is over some time, looked at each 0.1 s."""
        looks = round(for_s / 0.1)
        asked = f"for i in $(seq {looks}); do cat /run/vm/{station}/sim_gpio{line}/value; sleep 0.1; done"
        return [look == "1" for look in self.machine.run(asked).text.split()]

    def watched(self, station: str, line: int, for_s: float, command: str = ":") -> list[tuple[float, bool]]:
        """A line's level and when that was, looked at each 0.05 s, while this command runs."""
        level = f"/run/vm/{station}/sim_gpio{line}/value"
        looks = (
            f"for i in $(seq {round(for_s / 0.05)}); do read -r up rest </proc/uptime; read -r level <{level};"
            " echo $up $level; sleep 0.05; done"
        )
        said = self.machine.run(f"{{ {command}; }} >/dev/null & {looks}; wait $!", limit_s=2 * for_s + 60).text
        return [(float(up), level == "1") for up, level in map(str.split, said.splitlines())]

    def lines_in_use(self, label: str) -> dict[int, str]:
        """The lines of the chip with this label that somebody has, and the names that they gave to the kernel."""
        chip = self.chips()[label]
        told = self.machine.run(f"gpioinfo --chip {chip}").text
        found = re.findall(r'line\s+(\d+):.*consumer="?([^"\n]*[^"\s])"?', told)
        return {int(line): consumer for line, consumer in found}

    def chips(self) -> dict[str, str]:
        """Each GPIO chip's name by its label, as gpiodetect tells them."""
        return {label: name for name, label in re.findall(r"(\S+) \[(.*?)\]", self.machine.run("gpiodetect").text)}

    def edges(self, station: str, line: int, name: str, *, deaf: bool = False) -> list[bool]:
        """The edges of a button that the station is told while it is pressed for 0.6 s. `deaf`: the kernel is made to
        detect none on that line from now on."""
        unit, told = UNITS[station], "deaf" if deaf else "told"
        process = self.machine.run(f"systemctl show -P MainPID {unit}").text
        pull = f"/run/vm/{station}/sim_gpio{line}/pull"
        asked = f"python3 /{LIB}/edges.py {process} /run/{unit}/control {line} {name} {pull} {told}"
        found: list[bool] = json.loads(self.machine.run(asked).text)
        return found

    def told_s(self, station: str, code: str) -> float:
        """When the journal last got this of the station. Raises `MachineError` where it never did."""
        asked = (
            f"journalctl -u {UNITS[station]} -b -n 1 -o json --output-fields=ERROR_CODE ERROR_CODE={code} --no-pager"
        )
        told = self.machine.run(asked).text
        if not told:
            raise MachineError(f"{station}: the journal has no {code}; {self.journal(station)}")
        return int(json.loads(told)["__MONOTONIC_TIMESTAMP"]) / 1e6

    def journal(self, station: str, lines: int = 12) -> str:
        asked = f"journalctl -u {UNITS[station]} -b --no-pager -o cat | tail -{lines}"
        return self.machine.run(asked).text

    # ---- doing

    def press(self, station: str, line: int) -> None:
        """Close the button's line to ground for a fifth of a second."""
        pull = f"/run/vm/{station}/sim_gpio{line}/pull"
        self.machine.run(f"echo pull-down >{pull}; sleep 0.2; echo pull-up >{pull}")

    def call(self) -> str:
        """Door calls, flat answers, both by their buttons; the call's id. Raises `MachineError`."""
        self.press("door", CALL_LINE)
        self.until_phase("flat", "ringing")
        self.press("flat", CALL_LINE)
        for station in STATIONS:
            self.until_phase(station, "connected")
        return self.call_id("door")

    def call_id(self, station: str) -> str:
        status = self.status(station)
        return status["call"]["callId"] if status and status["call"] else ""

    # ---- voices

    def speak(self, stations: tuple[str, ...] = STATIONS) -> None:
        """Somebody speaks before each microphone, again and again, until `hush`."""
        for station in stations:
            self.machine.run(f"cat >/run/vm/{station}.wav", given=_sentence(station).read_bytes())
            self.machine.start(
                f"echo $$ >/run/vm/{station}.speaks; while :; do aplay -q -D plug:{station}_mouth /run/vm/{station}.wav"
                " || sleep 0.2; done"
            )

    def hush(self, stations: tuple[str, ...] = STATIONS) -> None:
        for station in stations:
            self.machine.run(f"kill -- -$(cat /run/vm/{station}.speaks)", check=False)

    def heard(self, for_s: float = 6.0) -> dict[tuple[str, str], float]:
        """At both ends at once: how well each voice is found in what the loudspeaker plays."""
        asked = "; ".join(
            f"arecord -q -D {name}_ear -t raw -f S16_LE -r 48000 -c 1 -d {for_s:.0f} /run/vm/{name}.raw & "
            for name in STATIONS
        ).replace("& ;", "&")
        self.machine.run(f"{asked} wait", limit_s=for_s + 30)
        return {
            (ear, voice): listen.find(listen.read_wav(_sentence(voice)), sound).correlation
            for ear, sound in ((name, self._recorded(name)) for name in STATIONS)
            for voice in STATIONS
        }

    def _recorded(self, station: str) -> Pcm:
        raw = self.machine.run(f"cat /run/vm/{station}.raw; rm /run/vm/{station}.raw").output
        place = Path(self.machine.console).parent / f"{station}.raw"
        place.write_bytes(raw)
        return listen.read_raw(place)


def _sentence(station: str) -> Path:
    return SPEECH / f"{station}.wav"
