"""A hub and two stations in one machine, each as its installed unit, with a sound server in place of cards.

The door is `intercomd.service` itself; the flat is the same unit under another name, with state of its own."""

import json
from typing import Any

from tests.nspawn.machine import Machine

SOUND = "rig-sound.service"
HUB, DOOR, FLAT = "intercomd-hub.service", "intercomd.service", "intercomd-flat.service"
CONFIG, FLAT_CONFIG = "/etc/intercomd/intercomd.toml", "/etc/intercomd/flat.toml"
SPEECH = "/checkout/intercomd/demo/speech"
PROGRAM = "/opt/intercomd/bin/intercomd"
CONTROL = {"door": "/run/intercomd/control", "flat": "/run/intercomd-flat/control"}
_PULSE = "unix:/run/rig/native"

_SOUND_UNIT = f"""\
[Service]
RuntimeDirectory=rig
Environment=HOME=/run/rig PULSE_CONFIG=/run/rig/daemon.conf PULSE_RUNTIME_PATH=/run/rig PULSE_STATE_PATH=/run/rig
ExecStartPre=/bin/sh -c 'echo "rescue-streams = no" >/run/rig/daemon.conf'
ExecStart=/usr/bin/pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes --realtime=no \\
    --log-level=error --log-target=stderr -L "module-native-protocol-unix socket=/run/rig/native auth-anonymous=1"
ExecStartPost=/bin/sh -c 'for _ in $(seq 100); do pactl -s {_PULSE} info >/dev/null 2>&1 && break; sleep 0.05; done'
ExecStartPost=/bin/sh -c 'for sink in nowhere door_spk door_mic flat_spk flat_mic; do pactl -s {_PULSE} load-module \\
    module-null-sink norewinds=1 sink_name=$sink rate=48000 channels=1 format=s16le; done'
ExecStartPost=/usr/bin/pactl -s {_PULSE} set-default-sink nowhere
"""

_PCMS = """\
pcm.@_speaker    { type pulse server "unix:/run/rig/native" device "@_spk" }
pcm.@_microphone { type pulse server "unix:/run/rig/native" device "@_mic.monitor" }
"""


def station(name: str, peer: str, **more: str) -> str:
    """A configuration. `more`: lines for tables by their names."""
    tables = {
        "station": f'name = "{name}"\ncontrol_socket = "{CONTROL[name]}"\nhub_url = "http://127.0.0.1:8080"',
        "audio": f'speaker_pcm = "{name}_speaker"\nmicrophone_pcm = "{name}_microphone"\nprocessing = "none"',
        "panel": 'pin_factory = "mock"',
        "call": f'peer = "{peer}"',
        "ice": "allow_loopback = true",
    }
    if name == "flat":
        tables["station"] += '\nstate_dir = "/var/lib/intercomd-flat"'
    tables |= {table: f"{tables.get(table, '')}\n{lines}" for table, lines in more.items()}
    return "".join(f"[{table}]\n{lines}\n\n" for table, lines in tables.items())


def furnish(machine: Machine, **more: str) -> None:
    """Sound server, configurations, units; nothing of intercomd's runs afterwards."""
    machine.run("systemctl", "stop", DOOR, "intercomd-fault.service", HUB, check=False)
    machine.run("systemctl", "reset-failed", check=False)
    machine.write(f"/etc/systemd/system/{SOUND}", _SOUND_UNIT)
    machine.write("/etc/asound.conf", _PCMS.replace("@", "door") + _PCMS.replace("@", "flat"))
    machine.write("/etc/pulse/client.conf", "autospawn = no\n")
    machine.write(CONFIG, station("door", "flat", **more))
    machine.write(FLAT_CONFIG, station("flat", "door"))
    unit = machine.read("/usr/lib/systemd/system/intercomd.service")
    changes = {
        CONFIG: FLAT_CONFIG,
        "StateDirectory=intercomd": "StateDirectory=intercomd-flat",
        "RuntimeDirectory=intercomd": "RuntimeDirectory=intercomd-flat",
        "hub-token:intercomd.hub-token": "hub-token:intercomd.flat-token",
        "OnFailure=intercomd-fault.service": "",
        "Conflicts=intercomd-fault.service": "",
    }
    for before, after in changes.items():
        assert before in unit, before
        unit = unit.replace(before, after)
    machine.write(f"/etc/systemd/system/{FLAT}", unit)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", SOUND)


def token(machine: Machine, name: str) -> str:
    said = machine.run(
        "runuser",
        "-u",
        "intercomd-hub",
        "--",
        PROGRAM,
        "hub",
        "--config",
        CONFIG,
        "add-station",
        name,
        "--group",
        "home",
    )
    return said.split()[-1]


def move_in(machine: Machine) -> None:
    """Hub and both stations run, registered."""
    machine.run("systemctl", "start", HUB)
    for name, credential in (("door", "hub-token"), ("flat", "flat-token")):
        machine.write(f"/etc/credstore/intercomd.{credential}", token(machine, name), "0600")
    machine.run("systemctl", "start", DOOR, FLAT)
    for name in CONTROL:
        wait_registered(machine, name)


def ctl(machine: Machine, name: str, *command: str, check: bool = True) -> str:
    return machine.run("intercomctl", "--socket", CONTROL[name], *command, check=check)


def status(machine: Machine, name: str) -> dict[str, Any]:
    """Empty while the station cannot be reached."""
    said = ctl(machine, name, "status", "--json", check=False)
    found: dict[str, Any] = json.loads(said) if said.startswith("{") else {}
    return found


def wait_registered(machine: Machine, name: str, limit_s: float = 60.0) -> None:
    machine.wait(
        f"{name} registered",
        lambda: (
            (status(machine, name).get("link") or {}).get("state") == "registered"
            and status(machine, name)["audio"]["card"] == "ready"
        ),
        limit_s,
    )


def wait_phase(machine: Machine, name: str, phase: str, limit_s: float = 30.0) -> None:
    machine.wait(f"{name} is {phase}", lambda: status(machine, name).get("phase") == phase, limit_s)


def talk(machine: Machine) -> None:
    """The door calls, the flat answers, both are connected."""
    ctl(machine, "door", "call", "flat")
    wait_phase(machine, "flat", "ringing")
    ctl(machine, "flat", "answer")
    for name in CONTROL:
        wait_phase(machine, name, "connected")


def speak(machine: Machine, name: str) -> None:
    """A sentence again and again before the station's microphone, until the machine ends."""
    machine.sh(
        f'systemd-run --quiet --unit="rig-$1" sh -c "while :; do paplay -s {_PULSE} -d $1_mic {SPEECH}/$1.wav; done"',
        name,
    )


def record(machine: Machine, sink: str, seconds: float, file: str) -> None:
    """What the sink plays, 48 kHz, 16 bit, mono, without a header."""
    shape = "--raw --rate=48000 --channels=1 --format=s16le --latency-msec=10"
    machine.sh(
        f"timeout {seconds} pacat -s {_PULSE} --record -d {sink}.monitor {shape} >{file} || true", limit_s=seconds + 30
    )


def heard(machine: Machine, source: str, recorded: str) -> dict[str, Any]:
    """What the demo's judge says of a recording: {"correlation", "delay_ms", "ok"}."""
    said = machine.run("/opt/intercomd/bin/python", "-m", "intercomd.demo.listen", source, recorded, check=False)
    found: dict[str, Any] = json.loads(said)
    return found
