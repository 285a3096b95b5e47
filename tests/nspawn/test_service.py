"""The station as systemd's service: when it is ready, what feeds its watchdog, how it comes back."""

import time
from collections.abc import Iterator

import pytest

from tests.nspawn.household import CONFIG, CONTROL, DOOR, FLAT, HUB, status, wait_registered
from tests.nspawn.machine import Machine

RESTART_LIMIT_S = 10.0
"""200 ms and a start, with room for a machine that others use: `make bench-appliance` measures."""
WATCHDOG_S = 3
STALLED_S = 5.0

HANG_A_THREAD = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid, name = int(sys.argv[1]), sys.argv[2]
(task,) = [t for t in os.listdir(f"/proc/{pid}/task") if open(f"/proc/{pid}/task/{t}/comm").read().strip() == name]
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
libc.ptrace.argtypes = [ctypes.c_long] * 4
for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
    if libc.ptrace(request, int(task), 0, 0):
        sys.exit(os.strerror(ctypes.get_errno()))
__WALL = 0x40000000
while True:
    _, status = os.waitpid(int(task), __WALL)
    if not os.WIFSTOPPED(status):
        break
"""
"""Stops one thread of a process as a driver that never returns would: the others run on. Its end is waited for: a
traced thread that nobody reaps keeps the whole process from ending (ptrace(2))."""


@pytest.fixture
def door(house: Machine) -> Iterator[Machine]:
    wait_registered(house, "door")
    yield house
    restore(house, DOOR)
    wait_registered(house, "door")


def restore(machine: Machine, unit: str) -> None:
    """As it was shipped."""
    machine.run("rm", "-rf", f"/run/systemd/system/{unit}.d", check=False)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", unit)


def drop_in(machine: Machine, lines: str, unit: str = DOOR) -> None:
    machine.write(f"/run/systemd/system/{unit}.d/90-test.conf", f"[Service]\n{lines}\n")
    machine.run("systemctl", "daemon-reload")


def came_back(machine: Machine, pid: int, limit_s: float = RESTART_LIMIT_S, unit: str = DOOR) -> float:
    """Seconds until another process is ready."""
    began_s = time.monotonic()
    machine.wait("another process", lambda: machine.pid(unit) not in (0, pid), limit_s)
    machine.wait_active(unit, limit_s)
    return time.monotonic() - began_s


def results(machine: Machine, unit: str = DOOR) -> list[str]:
    """How the unit's processes ended, by systemd's journal (MESSAGE_ID of "unit failed")."""
    return [line["UNIT_RESULT"] for line in machine.journal(f"UNIT={unit}") if "UNIT_RESULT" in line]


def test_ready_is_said_when_the_station_is_usable_and_status_in_words(house: Machine) -> None:
    for unit in (DOOR, FLAT, HUB):
        assert house.property(unit, "ActiveState") == "active"
    assert house.property(DOOR, "StatusText") == "Ready"
    assert house.property(HUB, "StatusText") == "listening on port 8080"


def test_ready_waits_for_the_hub_s_answer_and_not_for_ever(door: Machine) -> None:
    """Usable: registered, with an open card, or a first word on why not. A hub that takes connections and says nothing
    is no word: 10 s."""
    door.run("systemctl", "stop", DOOR, HUB)
    silent = (
        "import socket, time\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "s.bind(('127.0.0.1', 8080))\ns.listen(9)\ntime.sleep(60)"
    )
    door.run("systemd-run", "--quiet", "--unit=silent-hub", "/opt/intercomd/bin/python", "-c", silent)
    door.run("systemctl", "start", "--no-block", DOOR)
    try:
        door.wait("its control socket", lambda: status(door, "door"), 20)
        assert door.property(DOOR, "ActiveState") == "activating"
        began_s = time.monotonic()
        door.wait_active(DOOR, 30)
        assert time.monotonic() - began_s > 2
    finally:
        door.run("systemctl", "stop", "silent-hub", check=False)
        door.run("systemctl", "start", HUB)


def test_the_hub_s_address_comes_as_a_credential_where_the_file_has_none(door: Machine) -> None:
    """As pairing leaves it; another address than the default's, which leads to the same hub."""
    before, credential = door.read(CONFIG), "/etc/credstore/intercomd.hub-url"
    (address,) = [line for line in before.splitlines() if line.startswith("hub_url")]
    way = ["systemd-run", "--quiet", "--unit=another-way", "--socket-property=ListenStream=127.0.0.1:8090"]
    door.run(*way, "/usr/lib/systemd/systemd-socket-proxyd", "127.0.0.1:8080")
    try:
        door.run("systemctl", "stop", DOOR)
        assert door.property("another-way.service", "ActiveState") == "inactive"
        door.write(credential, "http://127.0.0.1:8090\n", "0600")
        door.write(CONFIG, before.replace(f"{address}\n", ""))
        door.run("systemctl", "start", DOOR)
        wait_registered(door, "door")
        assert door.property("another-way.service", "ActiveState") == "active"
    finally:
        door.run("systemctl", "stop", DOOR, "another-way.socket", "another-way.service")
        door.write(CONFIG, before)
        door.run("rm", credential)


def test_back_within_the_limit_after_kill_9(door: Machine) -> None:
    for _ in range(2):
        pid = door.pid(DOOR)
        door.run("kill", "-9", str(pid))
        assert came_back(door, pid) < RESTART_LIMIT_S
    wait_registered(door, "door")
    assert door.property("intercomd-fault.service", "ActiveState") == "inactive"


def test_a_hung_event_loop_is_killed_by_the_watchdog(door: Machine) -> None:
    drop_in(door, f"WatchdogSec={WATCHDOG_S}")
    door.run("systemctl", "restart", DOOR)
    wait_registered(door, "door")
    pid = door.pid(DOOR)
    time.sleep(2 * WATCHDOG_S)
    assert door.pid(DOOR) == pid, "a station that runs is left alone"
    door.run("kill", "-STOP", str(pid))
    came_back(door, pid, 60)
    assert results(door)[-1] == "watchdog"
    # SIGABRT, and then SIGCONT: faulthandler's stacks of all threads are what a technician sends.
    said = [line["MESSAGE"] for line in door.journal(f"_SYSTEMD_UNIT={DOOR}", f"_PID={pid}")]
    assert any("most recent call first" in line for line in said), said[-9:]


def test_a_hung_hub_is_killed_by_the_watchdog_and_both_stations_register_again(house: Machine) -> None:
    drop_in(house, f"WatchdogSec={WATCHDOG_S}", HUB)
    try:
        house.run("systemctl", "restart", HUB)
        pid = house.pid(HUB)
        house.run("kill", "-STOP", str(pid))
        came_back(house, pid, 60, HUB)
        assert results(house, HUB)[-1] == "watchdog"
    finally:
        restore(house, HUB)
    for name in CONTROL:
        wait_registered(house, name)


@pytest.mark.parametrize("thread", ["playout", "capture"])
def test_a_hung_audio_thread_ends_the_process_and_is_named(door: Machine, thread: str) -> None:
    pid = door.pid(DOOR)
    door.write("/run/hang.py", HANG_A_THREAD)
    door.run(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit=hang-{thread}",
        "/usr/bin/python3",
        "/run/hang.py",
        str(pid),
        thread,
    )
    came_back(door, pid, STALLED_S + 40)
    told = door.journal("ERROR_CODE=INTERNAL")
    named = [line for line in told if f"the {thread} thread has not moved" in line.get("REASON", "")]
    assert all("Traceback" in line["STACK"] for line in named)
    # One time in fifty it is stopped with the interpreter's lock in its hand: then the event loop stands still as well.
    assert named or results(door)[-1] == "watchdog", told


def test_crash_after_crash_it_waits_longer_and_a_quiet_while_makes_it_forget(door: Machine) -> None:
    """With the shipped steps, and ten minutes made five seconds."""
    timer = "intercomd-steady@intercomd.timer"
    door.write(
        f"/run/systemd/system/{timer}.d/90-test.conf", "[Timer]\nOnActiveSec=\nOnActiveSec=8s\nAccuracySec=100ms\n"
    )
    drop_in(door, "ExecStart=\nExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep 1000'\nNotifyAccess=all")
    try:
        door.run("systemctl", "restart", DOOR)
        waited = []
        for _ in range(4):
            pid = door.pid(DOOR)
            door.run("kill", "-9", str(pid))
            waited.append(came_back(door, pid))
        assert waited[3] > waited[0]
        assert int(door.property(DOOR, "NRestarts")) == 4
        door.wait("the restarts are forgotten", lambda: door.property(DOOR, "NRestarts") == "0", 30)
        assert door.property(DOOR, "ActiveState") == "active"
        assert door.property("intercomd-fault.service", "ActiveState") == "inactive"
    finally:
        door.run("rm", "-r", f"/run/systemd/system/{timer}.d", check=False)


def test_a_crash_loop_is_never_given_up(door: Machine) -> None:
    drop_in(door, "ExecStart=\nExecStart=/bin/false\nRestartMaxDelaySec=400ms")
    door.run("systemctl", "restart", "--no-block", DOOR)
    door.wait("eight restarts", lambda: int(door.property(DOOR, "NRestarts")) >= 8, 60)
    assert door.property("intercomd-fault.service", "ActiveState") == "inactive"
