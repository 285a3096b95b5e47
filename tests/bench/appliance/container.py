"""The installed station and hub in a container with Debian 13's systemd: starts, memory, processor, bytes, exposure."""

import os
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.appliance import card
from tests.bench.report import Peer, Row, row
from tests.nspawn.household import DOOR, HUB, SPEECH, ctl, heard, record, speak, talk, wait_phase, wait_registered
from tests.nspawn.installing import exposure, household, installed
from tests.nspawn.machine import Machine, MachineError
from tests.nspawn.tree import CACHE

STARTS, KILLS, CALLS = 10, 6, 3
IDLE_S, CALL_S = 90.0, 20.0
START_TARGET_S, BACK_TARGET_S, RSS_TARGET_MB, EXPOSURE_TARGET = 2.0, 3.0, 110.0, 2.0
NO_PEER = Peer(None, reason="nothing else is installed as this is")
ON_CARD = (
    "sectors that reach the card's state partition, the station's journal included; how often a card writes one "
    "again is not known here"
)
DAY_S = 86_400.0


def container() -> list[Row]:
    """All rows. Raises `MachineError` where something does not do what it must."""
    folder = CACHE / f"bench-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        system = installed(folder)
        shown = () if card.lacking() else (card.made(folder / "card"),)
        with household(replace(system, options=(*system.options, *shown)), folder / "house") as machine:
            rows = [row("make install, its packages at hand", system.took_s, "s", NO_PEER)]
            rows += [*_starts(machine), *_kills(machine), *_exposure(machine)]
            device = card.settle(machine) if shown else None
            rows += [*_idle(machine, device), *_calls(machine, device)]
            # In order: what its processes used is then known to have been ours, and nobody else's.
            machine.off()
            return rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _since_s(machine: Machine, unit: str, stamp: str, reference_s: float) -> float:
    """Of one of systemd's monotonic stamps, which are this machine's too: containers share its clock."""
    return int(machine.property(unit, f"{stamp}Monotonic")) / 1e6 - reference_s


def _starts(machine: Machine) -> list[Row]:
    took_s = []
    for _ in range(STARTS):
        machine.run("systemctl", "restart", DOOR)
        began_s = int(machine.property(DOOR, "ExecMainStartTimestampMonotonic")) / 1e6
        took_s.append(_since_s(machine, DOOR, "ActiveEnterTimestamp", began_s))
    named = "process start → systemd hears READY"
    return [
        row(f"{named}, median of {STARTS}", median(took_s), "s", NO_PEER, at_most=START_TARGET_S),
        row(f"{named}, worst of {STARTS}", max(took_s), "s", NO_PEER, at_most=START_TARGET_S),
    ]


def _kills(machine: Machine) -> list[Row]:
    took_s = []
    for _ in range(KILLS):
        wait_registered(machine, "door")
        pid = machine.pid(DOOR)
        killed_s = time.monotonic()
        machine.run("kill", "-9", str(pid))
        machine.wait("another process", partial(_is_another, machine, pid))
        machine.wait_active(DOOR)
        took_s.append(_since_s(machine, DOOR, "ActiveEnterTimestamp", killed_s))
        # The steps of RestartSteps= are not what is measured here.
        machine.run("systemctl", "reset-failed", DOOR)
    named = "kill −9 → systemd hears READY again"
    return [
        row(f"{named}, median of {KILLS}", median(took_s), "s", NO_PEER, at_most=BACK_TARGET_S),
        row(f"{named}, worst of {KILLS}", max(took_s), "s", NO_PEER, at_most=BACK_TARGET_S),
    ]


def _is_another(machine: Machine, pid: int) -> bool:
    return machine.pid(DOOR) not in (0, pid)


def _exposure(machine: Machine) -> list[Row]:
    return [
        row(f"exposure of {unit} (systemd-analyze security)", score, "of 10", NO_PEER, at_most=EXPOSURE_TARGET)
        for unit, score in exposure(machine).items()
    ]


def _process(machine: Machine, unit: str) -> Path:
    """Its folder under this machine's /proc."""
    inside = str(machine.pid(unit))
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            spaces = next(line.split()[1:] for line in status.read_text().splitlines() if line.startswith("NSpid:"))
            own = os.readlink(status.parent / "ns" / "pid") == os.readlink(f"/proc/{machine.leader}/ns/pid")
        except (OSError, StopIteration):
            continue
        if own and spaces[-1] == inside:
            return status.parent
    raise MachineError(f"{unit} has no process")


def _cpu_s(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(process: Path) -> float:
    return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _on_card(machine: Machine, device: Path | None) -> int:
    return 0 if device is None else card.written(machine, device)


def _bytes(name: str, value: float, unit: str, device: Path | None) -> Row:
    if device is None:
        return Row(name, None, None, None, unit, "", None, f"not measured: {card.lacking()}")
    return row(name, value, unit, NO_PEER, reason=ON_CARD)


def _idle(machine: Machine, device: Path | None) -> list[Row]:
    for name in ("door", "flat"):
        wait_registered(machine, name)
    station, hub = (_process(machine, unit) for unit in (DOOR, HUB))
    cpu_s, on_card, began_s = _cpu_s(station), _on_card(machine, device), time.monotonic()
    time.sleep(IDLE_S)
    took_s = time.monotonic() - began_s
    days = took_s / DAY_S
    return [
        row("processor of an idle station", 100 * (_cpu_s(station) - cpu_s) / took_s, "% of a core", NO_PEER),
        row("memory of an idle station", _resident_mb(station), "MB", NO_PEER, at_most=RSS_TARGET_MB),
        row("memory of an idle hub", _resident_mb(hub), "MB", NO_PEER),
        _bytes("written by an idle station", (_on_card(machine, device) - on_card) / days / 1e3, "kB a day", device),
    ]


def _calls(machine: Machine, device: Path | None) -> list[Row]:
    """Whole calls in which both speak; the first one's voices are judged, so that it is a call that is measured."""
    for name in ("door", "flat"):
        wait_registered(machine, name)
        speak(machine, name)
    station = _process(machine, DOOR)
    on_card = _on_card(machine, device)
    shares, resident_mb = [], 0.0
    for number in range(CALLS):
        talk(machine)
        if number == 0:
            record(machine, "flat_spk", 9.0, "/run/flat.raw")
            if not heard(machine, f"{SPEECH}/door.wav", "/run/flat.raw")["ok"]:
                raise MachineError("the flat does not hear the door: this is no call")
        cpu_s, began_s = _cpu_s(station), time.monotonic()
        time.sleep(CALL_S)
        shares.append(100 * (_cpu_s(station) - cpu_s) / (time.monotonic() - began_s))
        resident_mb = _resident_mb(station)
        _hang_up(machine, number + 1)
    machine.run("systemctl", "stop", "rig-door", "rig-flat", check=False)
    per_call = (_on_card(machine, device) - on_card) / CALLS
    if device is not None and per_call <= 0:
        raise MachineError("of a call nothing reaches the card's partition: what is counted there is not the station's")
    return [
        row("processor of a station in a call", median(shares), "% of a core", NO_PEER),
        row("memory of a station in a call", resident_mb, "MB", NO_PEER, at_most=RSS_TARGET_MB),
        _bytes("written by a station for a call", per_call / 1e3, "kB", device),
    ]


def _hang_up(machine: Machine, calls: int) -> None:
    """Until the last line of so many calls is in the door's journal."""
    ctl(machine, "door", "hangup")
    for name in ("door", "flat"):
        wait_phase(machine, name, "idle")
    ended = (f"_SYSTEMD_UNIT={DOOR}", "ERROR_CODE=CALL_ENDED")
    machine.wait("the call's end in the journal", lambda: len(machine.journal(*ended)) >= calls)
