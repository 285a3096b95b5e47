"""The hub as systemd's service: a configuration with a mistake, and the secrets that come as credentials."""

from collections.abc import Iterator

import pytest

from tests.nspawn.household import CONFIG, HUB, wait_registered
from tests.nspawn.machine import Machine

CREDENTIAL = "/etc/credstore/intercomd.metrics-token"
ASK = """
import sys, urllib.error, urllib.request
sign = {"Authorization": f"Bearer {sys.argv[1]}"} if sys.argv[1] else {}
try:
    asked = urllib.request.Request("http://127.0.0.1:8080/metrics", headers=sign)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        print(answer.status, b"intercom_" in answer.read())
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture
def hub(house: Machine) -> Iterator[Machine]:
    before = house.read(CONFIG)
    yield house
    house.run("rm", "-f", CREDENTIAL)
    house.write(CONFIG, before)
    house.run("systemctl", "reset-failed", HUB, check=False)
    house.run("systemctl", "restart", HUB)
    for name in ("door", "flat"):
        wait_registered(house, name)


def metrics(machine: Machine, sign: str) -> str:
    return machine.run("/opt/intercomd/bin/python", "-c", ASK, sign).strip()


def test_a_mistake_is_named_and_no_restart_is_tried(hub: Machine) -> None:
    hub.write(CONFIG, hub.read(CONFIG) + '\n[hub]\nport = "eighty"\n')
    hub.run("systemctl", "reset-failed", HUB, check=False)
    hub.run("systemctl", "restart", HUB, check=False)
    hub.wait("the hub has given up", lambda: hub.property(HUB, "ActiveState") == "failed")
    assert hub.property(HUB, "ExecMainStatus") == "78"
    assert hub.property(HUB, "NRestarts") == "0"
    reasons = [line["REASON"] for line in hub.journal("ERROR_CODE=CONFIG_INVALID", f"_SYSTEMD_UNIT={HUB}")]
    assert any("hub.port" in reason for reason in reasons), reasons


def test_a_secret_comes_as_a_credential_and_acts(hub: Machine) -> None:
    assert metrics(hub, "") == "200 True", "without a secret, this machine may ask"
    hub.write(CREDENTIAL, "a-long-secret-of-the-house\n", "0600")
    hub.run("systemctl", "restart", HUB)
    assert metrics(hub, "") == "401"
    assert metrics(hub, "another") == "401"
    assert metrics(hub, "a-long-secret-of-the-house") == "200 True"
    assert "a-long-secret" not in str(hub.journal(f"_SYSTEMD_UNIT={HUB}"))
