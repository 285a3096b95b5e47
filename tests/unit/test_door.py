"""A station's door opener: by its own rule, not too late, once for each command, and honest about the relay."""

from collections.abc import Callable

import pytest

from intercomd.core.door import Remote
from intercomd.core.protocol import Code, DoorCommand, DoorReply
from intercomd.device.door import Door
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.ports import PinsError

HUB_S = 1_900_000_000.0
COMMAND = DoorCommand("d1", 2000)
OPENED = DoorReply(ok=True, switched=True)


class Entrance:
    """A door with its relay, on a monotonic clock that tests turn; the hub's time runs along from `HUB_S`."""

    def __init__(self, remote: Remote = "always", *, has_opener: bool = True, talk: str | None = None) -> None:
        self.now_s = 50.0
        self.switched = 0
        self.stuck = ""
        self.talk = talk
        self.journal = FakeJournal()
        self.door = Door(
            self._switch,
            self.journal.report,
            lambda: self.talk,
            remote=remote,
            has_opener=has_opener,
            open_s=3.0,
            monotonic=lambda: self.now_s,
        )

    def heartbeat(self, late_s: float = 0.0) -> None:
        """One that the hub sent `late_s` ago."""
        self.door.hub_time(HUB_S + self.now_s - late_s)

    def wait(self, seconds_s: float) -> None:
        self.now_s += seconds_s

    def _switch(self) -> None:
        if self.stuck:
            raise PinsError(ErrorCode.GPIO_BUSY, self.stuck)
        self.switched += 1


@pytest.fixture
def entrance() -> Entrance:
    entrance = Entrance(talk="c1")
    entrance.heartbeat()
    return entrance


def test_a_command_switches_the_relay_and_is_answered_so(entrance: Entrance) -> None:
    assert entrance.door.command(COMMAND) == OPENED
    assert entrance.switched == 1
    (line,) = entrance.journal.lines
    assert (line["ERROR_CODE"], line["COMMAND_ID"], line["CALL_ID"]) == ("DOOR_OPENED", "d1", "c1")


def test_the_same_command_again_gets_the_same_answer_and_moves_nothing(entrance: Entrance) -> None:
    assert [entrance.door.command(COMMAND) for _ in range(3)] == [OPENED] * 3
    assert entrance.switched == 1
    assert entrance.door.command(DoorCommand("d2", 2000)) == OPENED
    assert entrance.switched == 2


def test_a_replay_after_its_time_to_live_moves_nothing_either(entrance: Entrance) -> None:
    entrance.door.command(COMMAND)
    entrance.wait(60.0)
    entrance.heartbeat()
    assert entrance.door.command(COMMAND) == OPENED
    assert entrance.switched == 1


@pytest.mark.parametrize(("later_s", "code"), [(0.0, None), (1.9, None), (2.1, Code.EXPIRED), (30.0, Code.EXPIRED)])
def test_its_time_to_live_counts_from_the_last_heartbeat(entrance: Entrance, later_s: float, code: Code | None) -> None:
    entrance.wait(later_s)
    reply = entrance.door.command(COMMAND)
    assert (reply.code, reply.ok, entrance.switched) == (code, code is None, 0 if code else 1)
    assert entrance.journal.codes == [ErrorCode.DOOR_REFUSED if code else ErrorCode.DOOR_OPENED]


@pytest.mark.parametrize(("held_s", "is_opened"), [(0.5, True), (1.9, True), (2.5, False), (7.0, False)])
def test_a_command_that_was_held_up_together_with_its_heartbeat_is_recognised(held_s: float, is_opened: bool) -> None:
    """Both come at once after a stall: only the earlier heartbeats tell how long ago that one was said."""
    entrance = Entrance()
    for _ in range(3):
        entrance.heartbeat()
        entrance.wait(8.0)
    entrance.heartbeat(late_s=held_s)
    assert entrance.door.command(COMMAND).ok is is_opened
    assert entrance.switched == is_opened


def test_nothing_is_carried_out_before_the_hub_has_told_the_time() -> None:
    entrance = Entrance()
    assert entrance.door.command(COMMAND).code is Code.EXPIRED
    entrance.heartbeat()
    entrance.door.connection_changed()
    assert entrance.door.command(COMMAND).code is Code.EXPIRED
    entrance.heartbeat()
    assert entrance.door.command(COMMAND).ok


def test_a_hub_whose_clock_was_set_back_is_believed_from_its_next_word_on(entrance: Entrance) -> None:
    entrance.wait(5.0)
    entrance.heartbeat(late_s=3600.0)
    assert entrance.door.command(COMMAND).ok


@pytest.mark.parametrize(
    ("remote", "talk", "code"),
    [
        ("always", None, None), ("always", "c1", None),
        ("in_call", None, Code.NOT_ALLOWED), ("in_call", "c1", None),
        ("never", None, Code.NOT_ALLOWED), ("never", "c1", Code.NOT_ALLOWED),
    ],
)  # fmt: skip
def test_the_stations_own_rule_counts_whatever_the_hub_says(
    remote: Remote, talk: str | None, code: Code | None
) -> None:
    entrance = Entrance(remote, talk=talk)
    entrance.heartbeat()
    assert entrance.door.command(COMMAND).code is code
    assert entrance.switched == (code is None)


def test_somebody_at_the_station_may_always_open_it() -> None:
    entrance = Entrance("never")
    assert entrance.door.open() is None
    assert entrance.switched == 1
    assert entrance.journal.codes == [ErrorCode.DOOR_OPENED]


def test_a_station_without_an_opener_says_so() -> None:
    entrance = Entrance(has_opener=False)
    entrance.heartbeat()
    assert entrance.door.command(COMMAND).code is Code.NO_DOOR


@pytest.mark.parametrize("how", ["here", "hub"])
def test_a_relay_that_sticks_is_told_and_not_called_open(entrance: Entrance, how: str) -> None:
    entrance.stuck = "output door does not switch: something holds its line down"
    tries: dict[str, Callable[[], object]] = {
        "here": entrance.door.open,
        "hub": lambda: entrance.door.command(COMMAND),
    }
    said = tries[how]()
    if how == "here":
        assert said == entrance.stuck
    else:
        assert said == DoorReply(ok=False, code=Code.DOOR_STUCK, message=entrance.stuck)
        entrance.stuck = ""
        assert entrance.door.command(COMMAND) == said, "it is not tried again behind the person's back"
        assert entrance.switched == 0
    assert ErrorCode.DOOR_STUCK in entrance.journal.codes
