"""A whole call between two installed stations: its voice, its journal, and what a technician reads there."""

import json
import re

import pytest

from intercomd.errors import ErrorCode
from intercomd.texts import text
from tests.nspawn.household import (
    DOOR,
    FLAT,
    SPEECH,
    ctl,
    heard,
    record,
    speak,
    status,
    talk,
    wait_phase,
    wait_registered,
)
from tests.nspawn.machine import Machine

SECRETS = re.compile(r"a=ice-pwd|a=fingerprint|v=0\\r|candidate:")
FIELDS = {"MESSAGE_ID", "ERROR_CODE", "DEVICE_ID", "USER_ID", "CALL_ID", "PEER", "EPOCH", "PHASE", "REASON", "NETWORK"}
QUALITY = {"MOS", "MOUTH_TO_EAR_MS", "CONCEALED_MS", "XRUNS", "LOSS_PACKETS", "JITTER_MS", "CONNECT_MS", "DURATION_S"}
CHINESE = ("LANG=zh_CN.UTF-8",)


@pytest.fixture(scope="module")
def called(house: Machine) -> Machine:
    """A call of some seconds in which both spoke has ended."""
    for name in ("door", "flat"):
        wait_registered(house, name)
        speak(house, name)
    talk(house)
    for unit in (DOOR, FLAT):
        assert house.property(unit, "StatusText") == text("phase.connected", "en")
    record(house, "flat_spk", 9.0, "/run/flat.raw")
    record(house, "door_spk", 9.0, "/run/door.raw")
    ctl(house, "door", "hangup")
    for name in ("door", "flat"):
        wait_phase(house, name, "idle")
    house.run("systemctl", "stop", "rig-door", "rig-flat", check=False)
    house.wait("the call's last line", lambda: house.journal(f"_SYSTEMD_UNIT={FLAT}", "ERROR_CODE=CALL_ENDED"))
    return house


def test_each_hears_the_other_and_nobody_himself(called: Machine) -> None:
    for speaker, listener in (("door", "flat"), ("flat", "door")):
        match = heard(called, f"{SPEECH}/{speaker}.wav", f"/run/{listener}.raw")
        assert match["ok"], (speaker, listener, match)
    assert not heard(called, f"{SPEECH}/door.wav", "/run/door.raw")["ok"]


def test_the_whole_call_is_in_the_journal_with_its_fields(called: Machine) -> None:
    lines = {unit: called.journal(f"_SYSTEMD_UNIT={unit}") for unit in (DOOR, FLAT)}
    (ended,) = [line for line in lines[DOOR] if line.get("ERROR_CODE") == "CALL_ENDED"][-1:]
    call_id = ended["CALL_ID"]
    codes = {
        unit: [line["ERROR_CODE"] for line in found if line.get("CALL_ID") == call_id] for unit, found in lines.items()
    }
    assert codes[DOOR] == ["CALL_DIALLED", "CALL_ANSWERED", "CALL_CONNECTED", "CALL_ENDED"]
    assert codes[FLAT] == ["CALL_RANG", "CALL_ANSWERED", "CALL_CONNECTED", "CALL_ENDED"]
    for unit, name in ((DOOR, "door"), (FLAT, "flat")):
        of_call = [line for line in lines[unit] if line.get("CALL_ID") == call_id]
        assert {line["DEVICE_ID"] for line in of_call} == {name}
        assert all(line["SYSLOG_IDENTIFIER"] == "intercomd" for line in of_call)
        seen = set().union(*of_call)
        assert not (FIELDS | QUALITY) - seen
        (connected,) = [line for line in of_call if line["ERROR_CODE"] == "CALL_CONNECTED"]
        # Interface, address family and the candidates' types.
        assert connected["NETWORK"] == "lo ipv4 host-host"


def test_no_secret_and_no_description_is_in_the_journal(called: Machine) -> None:
    token = called.read("/etc/credstore/intercomd.hub-token").strip()
    everything = json.dumps(called.journal("SYSLOG_IDENTIFIER=intercomd"))
    assert token
    assert token not in everything
    assert not SECRETS.search(everything)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_journalctl_x_says_cause_and_remedy(called: Machine, language: str) -> None:
    called.run("systemctl", "stop", FLAT)
    try:
        ctl(called, "door", "call", "flat")
        failed = called.wait(
            "the call fails", lambda: called.journal(f"_SYSTEMD_UNIT={DOOR}", "ERROR_CODE=CALLEE_OFFLINE")
        )
        assert failed[-1]["ERROR_TYPE"] == "NetworkError"
        assert failed[-1]["PEER"] == "flat"
        ctl(called, "door", "hangup", check=False)
    finally:
        called.run("systemctl", "start", FLAT)
    environ = CHINESE if language == "zh" else ()
    said = called.run("journalctl", "-x", "--no-pager", "-u", DOOR, "ERROR_CODE=CALLEE_OFFLINE", environ=environ)
    code = ErrorCode.CALLEE_OFFLINE
    for key in ("code", "advice"):
        assert text(f"{key}.{code.name}", "zh" if language == "zh" else "en").rstrip(".。") in said
    wait_registered(called, "flat")


def test_a_call_survives_kill_9_of_the_unit(house: Machine) -> None:
    for name in ("door", "flat"):
        wait_registered(house, name)
    talk(house)
    call_id = status(house, "flat")["call"]["callId"]
    house.run("systemctl", "kill", "-s", "KILL", FLAT)
    house.wait(
        "the same call again",
        lambda: (
            (found := status(house, "flat")).get("phase") == "connected"
            and found["call"]["callId"] == call_id
            and found["call"]["epoch"] > 1
        ),
        40,
    )
    ctl(house, "door", "hangup")
    for name in ("door", "flat"):
        wait_phase(house, name, "idle")
