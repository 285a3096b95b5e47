"""What clients hear that ask for no acknowledgement."""

import pytest

from intercomd.hub.legacy import pong, told


def test_a_refusal_is_told_and_a_success_is_not() -> None:
    refused = {"ok": False, "code": "not_participant", "message": "not yours"}
    assert told("end_call", refused) == {"code": "not_participant", "message": "not yours", "event": "end_call"}
    assert told("end_call", {"ok": True}) is None


def test_habits_of_every_connect_alarm_nobody() -> None:
    assert told("get_offline_messages", {"ok": False, "code": "unknown_event", "message": "?"}) is None


@pytest.mark.parametrize(("payload", "timestamp"), [({"timestamp": 5}, 5), ({"timestamp": "x" * 9}, None), ("5", None)])
def test_a_ping_gets_its_own_time_back(payload: object, timestamp: int | None) -> None:
    assert pong(payload, 2.0) == {"timestamp": timestamp, "serverTimestamp": 2000}
