"""What is done to the machine under test, one fault after the other, and what must hold after each."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from intercomd.demo.checks import Findings
from intercomd.demo.listen import SAME_VOICE
from tests.vm.bench import BOOT_LIMIT_S, HASTY, IN_CALL, READY, RUN, Bench
from tests.vm.disks import STATE_LABEL, layer
from tests.vm.gpio import gpio_lines
from tests.vm.household import CALL_LINE, HANGUP_LINE, OTHER, RINGING_LINE, STATIONS, TALKING_LINE, Household
from tests.vm.machine import Machine, MachineError

OTHER_VOICE = 0.4
"""Between what another voice reaches (0.2) and the same one (0.6)."""
RESTORE_S, CARD_BACK_S = 3.0, 2.0
HASTY_LIMIT_S = 600.0


def boot(bench: Bench) -> None:
    """The first start: the stations are made known; the state afterwards is kept."""
    RUN.mkdir(parents=True, exist_ok=True)
    for base, over in zip((bench.disks.root, bench.disks.state), bench.layers, strict=True):
        layer(base, over)
    findings = bench.findings
    with bench.machine() as machine:
        house = Household(machine)
        release = machine.run("uname -r").text
        findings.check("the kernel is the shipped one", release == bench.disks.release, release)
        machine.run("systemctl start intercomd-hub", limit_s=BOOT_LIMIT_S)
        house.enrol()
        findings.figure("boot to both stations ready, first time", house.until_ready(), "s")
        asked = machine.run("intercomctl --json status").text
        findings.check(
            "intercomctl tells that the door is registered", json.loads(asked)["link"]["state"] == "registered"
        )
        failed = machine.run("systemctl list-units --failed --no-legend --plain").text
        findings.check("no unit has failed", not failed, failed or "none")
        _hardened(machine, findings)
        machine.monitor(f"savevm {READY}")


def _hardened(machine: Machine, findings: Findings) -> None:
    """What containers do not enforce (APPLIANCE.md), here for the running daemon."""
    ran = machine.run("systemctl show -P MainPID intercomd").text
    denied = machine.run(f"nsenter -t {ran} -m -- touch /usr/of-the-daemon", check=False)
    findings.check("the daemon sees a read-only system", denied.status != 0, denied.error.strip())
    device = machine.run(
        f"cat /proc/{ran}/cgroup | cut -d: -f3 | xargs -I@ sh -c 'echo $$ >/sys/fs/cgroup@/cgroup.procs; "
        "head -c1 /dev/vda'", check=False
    )  # fmt: skip
    findings.check("of devices it has sound and GPIO only", device.status != 0, device.error.strip()[-80:])


def call(bench: Bench) -> None:
    """A press on the door's button line, until both hear each other; the state in the call is kept."""
    findings = bench.findings
    with bench.machine(READY) as machine:
        house = Household(machine)
        silent = house.status("flat")
        closed = silent is not None and not silent["audio"]["capture"]["open"]
        findings.check("at rest the microphone is closed", closed)
        house.speak()
        house.press("door", CALL_LINE)
        house.until_phase("flat", "ringing")
        findings.check("pressed at the door, the flat's LED blinks", _blinks(house.lights("flat", RINGING_LINE)))
        findings.check("and the door's", _blinks(house.lights("door", RINGING_LINE)))
        house.press("flat", CALL_LINE)
        for station in STATIONS:
            house.until_phase(station, "connected")
        lit = {station: house.lights(station, TALKING_LINE, 0.5) for station in STATIONS}
        findings.check("answered, both LEDs are lit", all(all(looks) for looks in lit.values()), str(lit))
        _talks(house, findings, "in the call")
        _muted(house, findings)
        machine.monitor(f"savevm {IN_CALL}")
        house.press("door", HANGUP_LINE)
        for station in STATIONS:
            house.until_phase(station, "idle")
        dark = {station: house.lights(station, TALKING_LINE, 0.5) for station in STATIONS}
        findings.check("hung up, both LEDs are dark", not any(any(looks) for looks in dark.values()), str(dark))


def _blinks(looks: list[bool]) -> bool:
    return any(looks) and not all(looks)


def _talks(house: Household, findings: Findings, when: str) -> None:
    """Each hears the other, and not itself."""
    heard = house.heard()
    for station in STATIONS:
        there = heard[station, OTHER[station]]
        findings.check(f"{station} hears {OTHER[station]} {when}", there >= SAME_VOICE, there, "", f"≥ {SAME_VOICE}")
        own = heard[station, station]
        findings.check(f"{station} does not hear itself {when}", own < OTHER_VOICE, own, "", f"< {OTHER_VOICE}")


def _muted(house: Household, findings: Findings) -> None:
    """The control: with nobody speaking at the door, the flat must not be said to hear it."""
    house.hush(("door",))
    heard = house.heard(4.0)["flat", "door"]
    findings.check("control: a silent door is not heard", heard < OTHER_VOICE, heard, "", f"< {OTHER_VOICE}")
    house.speak(("door",))


def lossy_network(bench: Bench) -> None:
    """netem in the shipped kernel: loss and delay, then nothing at all for a while."""
    findings = bench.findings
    with bench.machine(IN_CALL) as machine:
        house = Household(machine)
        before = house.call_id("door")
        machine.run("tc qdisc add dev lo root netem loss 10% delay 20ms 5ms")
        _talks(house, findings, "at 10 % loss and 20 ms")
        machine.run("tc qdisc change dev lo root netem loss 100%")
        _, lost_s = house.until_phase("flat", "reconnecting", 20)
        machine.run("sleep 4; tc qdisc del dev lo root")
        restored_s = house.now_s()
        again_s = max(house.until_phase(station, "connected", 40)[1] for station in STATIONS)
        findings.figure("network back → connected again", again_s - restored_s, "s")
        findings.check("a lost network shows as reconnecting", lost_s > 0)
        findings.check("and the call is the same", house.call_id("door") == before == house.call_id("flat"))
        _talks(house, findings, "after it")


def card_unplugged(bench: Bench) -> None:
    """Both cards vanish under the call, as a USB cable that is pulled, and the driver with them; then they are back."""
    findings = bench.findings
    with bench.machine(IN_CALL) as machine:
        house = Household(machine)
        before = house.call_id("flat")
        house.hush()
        driver = "/sys/bus/platform/drivers/snd_aloop"
        pulled = f"for card in {driver}/snd_aloop.*; do basename $card >{driver}/unbind; done"
        machine.run(f"{pulled}; modprobe -r snd-aloop", limit_s=30)
        gone, _ = house.until("flat", "without a card", lambda status: status["audio"]["card"] != "ready", 20)
        findings.check("the station tells that its card is gone", True, gone["audio"]["card_reason"])
        back = "sleep 3; modprobe snd-aloop enable=1,1 index=0,1 id=Door,Flat pcm_substreams=2"
        back_s = machine.run(back, limit_s=30).now_s
        for name in STATIONS:
            house.until(name, "with a card", lambda status: status["audio"]["card"] == "ready", 30)
        # The journal's times: looks from outside are as far apart as the machine outside is busy.
        taken = max(house.told_s(name, "CARD_READY") for name in STATIONS) - back_s
        findings.check("card back → open again", taken <= CARD_BACK_S, round(taken, 2), "s", f"≤ {CARD_BACK_S:g}")
        findings.check("the call has outlived it", house.call_id("flat") == before)
        house.speak()
        # Right after the return both voices were found at 0.57 once; why is not known. Judged after 2 s.
        machine.run("sleep 2")
        _talks(house, findings, "with the card that came back")


def power_cut(bench: Bench) -> None:
    """The machine's power goes in the middle of a call. It starts from its disks, and nobody presses anything."""
    findings = bench.findings
    with bench.machine(IN_CALL) as machine:
        before = Household(machine).call_id("door")
        # What happened after the snapshot's moment: the journal's last seconds may go with the power, the call may not.
        machine.run("logger before the cut; sleep 2")
        clock = machine.run("date --utc +%FT%T").text
    _whole(bench)
    # As if the power were back at once, by the clock inside, which is slower than the one outside.
    with bench.machine(clock=clock) as machine:
        house = Household(machine)
        ready_s = house.until_ready(BOOT_LIMIT_S)
        for station in STATIONS:
            house.until_phase(station, "connected", BOOT_LIMIT_S)
        talking_s = house.now_s()
        taken = talking_s - ready_s
        findings.check(
            "power cut: in the call again after both stations were ready", taken <= RESTORE_S, round(taken, 2), "s",
            f"≤ {RESTORE_S:g}"
        )  # fmt: skip
        findings.figure("power cut: from the kernel's start to the call", talking_s, "s")
        findings.check("it is the same call", house.call_id("door") == before == house.call_id("flat"), before)
        house.speak()
        _talks(house, findings, "after the power cut")
        recovered = machine.run("dmesg | grep -i -E 'EXT4.*(recover|orphan|error)' || true").text
        errors = [line for line in recovered.splitlines() if "error" in line.lower()]
        findings.check("the file systems are whole", not errors, "; ".join(errors) or "no error told")
        house.press("flat", HANGUP_LINE)
        house.until_phase("door", "idle")


def _whole(bench: Bench) -> None:
    """A check of the state partition as the cut left it, after its own journal's replay, on a copy."""
    copy = RUN / "state.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", bench.layers[1], copy], check=True, timeout=120)
    subprocess.run(["e2fsck", "-p", copy], check=False, timeout=120, capture_output=True)
    looked = subprocess.run(["e2fsck", "-f", "-n", copy], check=False, timeout=120, capture_output=True, text=True)
    copy.unlink()
    if looked.returncode:
        raise MachineError(f"the state partition is damaged after the power cut: {looked.stdout[-800:]}")


def hung_kernel(bench: Bench) -> None:
    """A kernel that has stopped (a crash with kernel.panic=0 stays dead) is reset by the hardware watchdog alone.
    That stations become ready after a start is `power_cut`'s to show: no load of the machine outside hurries its clock.
    """
    findings = bench.findings
    with bench.machine(hardware=HASTY, without=("intercomd-hub", "intercomd-flat")) as machine:
        panic = machine.run("sysctl -n kernel.panic").text
        findings.check("control: the kernel would not start again by itself", panic == "0", panic)
        watch = "/sys/class/watchdog/watchdog0"
        asked = f"for i in $(seq 600); do grep -qx active {watch}/state && exit; sleep 0.1; done; exit 1"
        machine.run(asked, limit_s=120)
        set_s = float(machine.run(f"sync; cat {watch}/timeout").text)
        boot_id = "cat /proc/sys/kernel/random/boot_id"
        hung = machine.run(boot_id).text
        began_s = machine.age_s
        machine.throw("echo c >/proc/sysrq-trigger")
        reset_s = machine.await_event("WATCHDOG", 300)
        findings.check("a hung kernel is reset by the watchdog", True, round(reset_s, 1), "s", f"set to {set_s:g}")
        machine.await_up(HASTY_LIMIT_S)
        up_s = machine.age_s - began_s - reset_s
        findings.figure("reset by the watchdog → up again, by the clock outside", up_s, "s")
        fresh = machine.run(boot_id).text
        findings.check("the kernel has started anew", fresh != hung, fresh)
        started = "until [ $(systemctl show -P MainPID intercomd) != 0 ]; do sleep 0.5; done"
        begun = machine.run(started, limit_s=HASTY_LIMIT_S, check=False)
        findings.check("and the station is started by itself", begun.status == 0, begun.error)


def torn_state(bench: Bench) -> None:
    """The state partition's superblock and a bitmap are torn, as crash tests have left them: its check mends them at
    boot, without a question (fsck.repair=yes), and the station is there."""
    findings = bench.findings
    raw = RUN / "torn.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", bench.layers[1], raw], check=True, timeout=120)
    tear(raw)
    before = subprocess.run(["e2fsck", "-n", "-f", raw], check=False, timeout=120, capture_output=True, text=True)
    findings.check("control: the state partition is damaged", before.returncode != 0, before.returncode)
    # Layers of its own: those of the other scenes keep their snapshots.
    own = [layer(bench.layers[0], RUN / "torn-root.qcow2"), layer(raw, RUN / "torn-state.qcow2")]
    with bench.machine(layers=own, without=("intercomd-hub", "intercomd-flat")) as machine:
        house = Household(machine)
        house.until("door", "with its card open", lambda status: status["audio"]["card"] == "ready", BOOT_LIMIT_S)
        mount = json.loads(machine.run("findmnt -J /var/lib/intercom-state").text)["filesystems"][0]
        label = machine.run("blkid -p -s LABEL -o value /dev/vdb", check=False).text
        whole = "rw" in mount["options"].split(",") and label == STATE_LABEL
        findings.check("torn state partition: mended and mounted at boot", whole, mount["options"])
        said = machine.run("journalctl -b --no-pager -o cat -t systemd-fsck | tail -3").text
        findings.check("the journal tells of the check", STATE_LABEL in said, said[:160])
    for file in (raw, *own):
        file.unlink()


def tear(file: Path) -> None:
    """Writes that only half arrived: the second half of the primary superblock (at 1 KiB) and of the block bitmap."""
    shown = subprocess.run(["dumpe2fs", file], check=True, capture_output=True, text=True, timeout=60).stdout
    block_bytes = int(shown.split("Block size:")[1].split()[0])
    bitmap = int(shown.split("Block bitmap at ")[1].split()[0])
    with file.open("r+b") as disk:
        for place in (1024 + 512, bitmap * block_bytes + block_bytes // 2):
            disk.seek(place)
            disk.write(os.urandom(512))


SCENES: dict[str, Callable[[Bench], None]] = {
    "boot": boot,
    "call": call,
    "network": lossy_network,
    "card": card_unplugged,
    "gpio": gpio_lines,
    "power": power_cut,
    "hung": hung_kernel,
    "torn": torn_state,
}
