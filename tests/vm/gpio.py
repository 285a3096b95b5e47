"""The scene of real kernel lines: chips by label, the door opener, a lost edge, a line that somebody else holds."""

from intercomd.demo.checks import Findings
from tests.vm.bench import READY, Bench
from tests.vm.household import CALL_LINE, DOOR_LINE, HANGUP_LINE, STATIONS, Household
from tests.vm.machine import Machine, MachineError

LABELS = {"door": "pinctrl-bcm2711", "flat": "vm-flat"}
DOOR_OPEN_S, DOOR_OFF_BY_S = 2.0, 0.3
"""guest/door.toml; looks are 0.05 s apart, and a look is not instant."""
OFF_AFTER_RESTART_S = 2.0
HOLDER = "bell-tester"
RESTART_LIMIT_S = 60.0


def gpio_lines(bench: Bench) -> None:
    """Buttons, LEDs and the door's relay as the kernel and other programs see them."""
    findings = bench.findings
    with bench.machine(READY) as machine:
        house = Household(machine)
        _chips(house, findings)
        _door_opens(house, findings)
        _edge_is_lost(house, findings)
        _door_is_shut_after_a_crash(house, findings)
        _lines_are_let_go(house, findings)
        _line_is_held(house, findings)


def _chips(house: Household, findings: Findings) -> None:
    chips = house.chips()
    numbers = {station: chips[LABELS[station]] for station in STATIONS}
    apart = "gpiochip0" not in numbers.values() and len(set(numbers.values())) == 2
    findings.check("control: chip 0 is neither station's", apart, str(numbers))
    for station in STATIONS:
        owned = house.lines_in_use(LABELS[station])
        theirs = {CALL_LINE, HANGUP_LINE} <= owned.keys()
        findings.check(f"{station} has found its chip by its label", theirs, str(sorted(owned)))
    findings.check("nobody has lines of another chip", not house.lines_in_use("vm-other"))


def _door_opens(house: Household, findings: Findings) -> None:
    levels = house.watched("door", DOOR_LINE, DOOR_OPEN_S + 3.0, "intercomctl door")
    on = [at_s for at_s, level in levels if level]
    lasted_s = round(on[-1] - on[0], 2) if on else 0.0
    whole = bool(on) and not levels[0][1] and not levels[-1][1]
    findings.check("the door's line goes high, and low again", whole, f"high in {len(on)} of {len(levels)} looks")
    findings.check("after door_open_s", abs(lasted_s - DOOR_OPEN_S) <= DOOR_OFF_BY_S, lasted_s, "s",
                   f"{DOOR_OPEN_S:g} ± {DOOR_OFF_BY_S:g}")  # fmt: skip


def _edge_is_lost(house: Household, findings: Findings) -> None:
    told = house.edges("door", HANGUP_LINE, "hangup")
    findings.check("control: a press is told as two edges", told == [True, False], str(told))
    lost = house.edges("door", CALL_LINE, "call", deaf=True)
    findings.check("control: with its detection taken away there are none", not lost, str(lost))
    try:
        house.until_phase("flat", "ringing", 10)
    except MachineError as error:
        findings.check("a press whose edges were lost is seen", False, str(error)[-300:])
        return
    findings.check("a press whose edges were lost is seen", True)
    house.press("door", HANGUP_LINE)
    house.until_phase("flat", "idle")


def _lines_are_let_go(house: Household, findings: Findings) -> None:
    house.machine.run("systemctl stop intercomd", limit_s=RESTART_LIMIT_S)
    left = house.lines_in_use(LABELS["door"])
    findings.check("stopped, the station has let go of every line", not left, str(left))


def _line_is_held(house: Household, findings: Findings) -> None:
    """Two lines are somebody else's when the station starts: it says whose, and has all others."""
    machine, chip = house.machine, house.chips()[LABELS["door"]]
    machine.run(f"gpioset --daemonize --consumer {HOLDER} --chip {chip} {CALL_LINE}=1 {DOOR_LINE}=0")
    machine.run("systemctl start intercomd", limit_s=RESTART_LIMIT_S)
    told = machine.run(
        "journalctl -u intercomd -b -o cat --output-fields=REASON ERROR_CODE=GPIO_BUSY --no-pager | tail -2"
    ).text
    named = told.count(HOLDER) == 2 and f"line {CALL_LINE} " in told and f"line {DOOR_LINE} " in told
    findings.check("a line that another program holds is GPIO_BUSY, with the holder's name", named, told[:160])
    owned = house.lines_in_use(LABELS["door"])
    rest = owned.get(CALL_LINE) == HOLDER and owned.get(HANGUP_LINE, HOLDER) != HOLDER
    findings.check("the station has the other lines all the same", rest, str(owned))
    refused = machine.run("intercomctl door", check=False)
    findings.check("a door opener that cannot be switched is no success", refused.status == 1, refused.error.strip())
    machine.run("pkill -x gpioset")


def _door_is_shut_after_a_crash(house: Household, findings: Findings) -> None:
    """Let go, this line floats high: the relay stays on until somebody drives it low."""
    machine = house.machine
    machine.run(f"echo pull-up >/run/vm/door/sim_gpio{DOOR_LINE}/pull")
    crash = "intercomctl door && kill -9 $(systemctl show -P MainPID intercomd)"
    before_s, levels = house.now_s(), house.watched("door", DOOR_LINE, 12.0, crash)
    on = [at_s for at_s, level in levels if level]
    started_s = _started_s(machine)
    findings.check("control: killed while the door is open, its line stays high", len(on) > 1 and on[-1] > started_s,
                   f"high for {on[-1] - on[0]:.2f} s" if on else "never high")  # fmt: skip
    shut_s = next((at_s for at_s, level in levels if not level and on and at_s > on[-1]), None)
    if shut_s is None or started_s < before_s:
        findings.check("after kill -9 the door is shut", False, house.journal("door"))
        return
    taken = round(shut_s - started_s, 2)
    findings.check("after kill -9 the door is shut, counted from the restart", taken <= OFF_AFTER_RESTART_S, taken, "s",
                   f"≤ {OFF_AFTER_RESTART_S:g}")  # fmt: skip
    findings.figure("kill -9 with the door open: high for", shut_s - on[0], "s")


def _started_s(machine: Machine) -> float:
    """When the station's process was started, by the clock of /proc/uptime (nothing sleeps here: both are one)."""
    return int(machine.run("systemctl show -P ExecMainStartTimestampMonotonic intercomd").text) / 1e6
