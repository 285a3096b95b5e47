"""What the daemons can not do, tried from inside their own sandbox, as their own users."""

import pytest

from tests.nspawn.household import DOOR, HUB
from tests.nspawn.machine import Machine

PROBE = """
import ctypes, os, socket, sys
def refused(what, act):
    try:
        act()
    except OSError as error:
        print(what, "refused", error.errno)
    else:
        print(what, "ALLOWED")
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
refused("write-etc", lambda: open("/etc/intercomd/x", "w"))
refused("write-usr", lambda: open("/usr/x", "w"))
refused("write-opt", lambda: open("/opt/intercomd/x", "w"))
refused("home", lambda: os.listdir("/home/resident"))
refused("root-home", lambda: os.listdir("/root"))
refused("shadow", lambda: open("/etc/shadow"))
refused("other-state", lambda: os.listdir(sys.argv[1]))
refused("credstore", lambda: os.listdir("/etc/credstore"))
refused("module", lambda: call("syscall", 175, 0, 0, b""))
refused("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, 0))
refused("namespace", lambda: call("unshare", 0x10000000))
refused("clock", lambda: __import__("time").clock_settime(0, 1))
refused("host-name", lambda: socket.sethostname("x"))
refused("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
refused("chown", lambda: os.chown("/tmp", 0, 0))
refused("suid", lambda: (open("/tmp/s", "w").close(), os.chmod("/tmp/s", 0o4755)))
refused("others", lambda: open("/proc/1/environ"))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print("capabilities", status["CapEff"].strip(), status["CapBnd"].strip())
print("seccomp", status["Seccomp"].strip(), status["NoNewPrivs"].strip())
given = os.environ.get("CREDENTIALS_DIRECTORY")
print("credentials", sorted(os.listdir(given)) if given else [])
print("user", os.getuid() != 0)
open(os.path.join(os.environ["STATE_DIRECTORY"], "probe"), "w").write("x")
print("state writable")
"""


def inside(machine: Machine, unit: str, other_state: str) -> dict[str, str]:
    """The probe's words, run by a unit with the very settings of `unit` but for its program."""
    name = f"probe-{unit}"
    machine.write("/run/probe.py", PROBE)
    text = machine.read(f"/usr/lib/systemd/system/{unit}")
    dropped = ("ExecStart", "Type=", "WatchdogSec", "Restart", "OnFailure", "Conflicts", "NotifyAccess", "RuntimeDir")
    kept = [line for line in text.splitlines() if not line.startswith(dropped)]
    start = f"Type=oneshot\nExecStart=/usr/bin/python3 /run/probe.py {other_state}"
    machine.write(f"/run/systemd/system/{name}", "\n".join(kept).replace("[Service]", f"[Service]\n{start}", 1))
    machine.run("mkdir", "-p", "/home/resident")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", name)
    said = [line["MESSAGE"] for line in machine.journal(f"_SYSTEMD_UNIT={name}")]
    return {line.split()[0]: line.partition(" ")[2] for line in said}


@pytest.mark.parametrize(("unit", "other_state"), [(DOOR, "/var/lib/intercomd-hub"), (HUB, "/var/lib/intercomd")])
def test_nothing_that_it_does_not_need_is_allowed(house: Machine, unit: str, other_state: str) -> None:
    said = inside(house, unit, other_state)
    assert said["state"] == "writable", said
    assert said["user"] == "True"
    assert said["capabilities"].split()[0] == "0" * 16
    assert said["capabilities"].split()[1] == "0" * 16
    assert said["seccomp"] == "2 1"
    assert {what: word for what, word in said.items() if word.startswith("ALLOWED")} == {}
    assert sum(word.startswith("refused") for word in said.values()) == 17, said


def test_the_token_comes_as_a_credential_that_only_the_unit_can_read(house: Machine) -> None:
    said = inside(house, DOOR, "/var/lib/intercomd-hub")
    assert said["credentials"] == "['hub-token']"
    mode = house.run("stat", "-c", "%a %U", "/etc/credstore/intercomd.hub-token").strip()
    assert mode == "600 root"


@pytest.mark.platform("real-time")
def test_the_audio_threads_have_real_time(house: Machine) -> None:
    """SCHED_FIFO (class 1 in proc(5), field 41) for two of its threads, by LimitRTPRIO= and without a capability."""
    script = 'for task in /proc/"$1"/task/*; do sed "s/.*) //" "$task/stat" | cut -d" " -f39; done'
    policies = house.sh(script, str(house.pid(DOOR))).split()
    assert policies.count("1") == 2
