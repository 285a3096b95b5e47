"""A trace replays to the same effects; a changed reducer shows where."""

import json
from pathlib import Path

import pytest

from intercomd.core import call as core
from intercomd.core.events import (
    Booted,
    CallPressed,
    Card,
    CardChanged,
    Described,
    Event,
    LinkUp,
    MediaUp,
    Received,
    Replied,
    Timer,
    TimerFired,
    Unanswered,
)  # fmt: skip
from intercomd.core.protocol import AnswerReceived, CallAccepted, EndCall, InitiateCall, Reply, Resync
from intercomd.core.snapshot import Role, SavedCall, SavedPhase, Snapshot
from intercomd.core.station import Settings, Station
from intercomd.core.vocabulary import Sdp
from intercomd.device.replay import main
from intercomd.device.trace import Trace, event_line, read_event
from intercomd.ids import CallId, IdentityId

C1 = CallId("c1")
SAVED = Snapshot(SavedCall(C1, Role.CALLER, IdentityId("flat"), SavedPhase.CONNECTED, 1, 10.0))
EVENTS: tuple[Event, ...] = (
    Booted(Snapshot(), 3.0), LinkUp(), Replied(Resync(), Reply(ok=True, calls=())), CardChanged(Card.READY),
    CallPressed(C1), Replied(InitiateCall(C1, "flat"), Reply(ok=True)),
    Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)), Described(1, Sdp("offer", "o")),
    Received(AnswerReceived(C1, 3, "flat", 1, Sdp("answer", "a"))), MediaUp(1), TimerFired(Timer("connect", C1, 1)),
)  # fmt: skip


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    station = Station(Settings(peer_id=IdentityId("flat")))
    path = tmp_path / "trace.jsonl"
    trace = Trace(path, station)
    for number, event in enumerate(EVENTS):
        station, effects = core.handle(station, event, 100.0 + number)
        trace.step(event, effects, 100.0 + number)
    trace.close()
    return path


@pytest.mark.parametrize("event", [*EVENTS, Booted(SAVED, None), Unanswered(EndCall(C1, "completed"))])
def test_events_survive_the_way_to_the_file_and_back(event: Event) -> None:
    assert read_event(json.loads(json.dumps(event_line(event)))) == event


def test_a_trace_replays(trace_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(trace_file)]) == 0
    assert "11 steps" in capsys.readouterr().out


def test_a_trace_is_for_its_owner_only(trace_file: Path) -> None:
    assert trace_file.stat().st_mode & 0o777 == 0o600


def test_a_difference_is_shown(trace_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = trace_file.read_text()
    assert '"delay_s": 10.0' in text
    trace_file.write_text(text.replace('"delay_s": 10.0', '"delay_s": 11.0'))
    assert main([str(trace_file)]) == 1
    assert "now:" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "no json\n", "{}\n", '{"settings": {"attempts": "x"}}\n'])
def test_what_is_no_trace_is_said_so(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace"
    path.write_text(content)
    assert main([str(path)]) == 2
    assert "trace" in capsys.readouterr().err


def test_a_missing_file_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err
