"""The crash tests themselves: they see what is lost, and they count what they tried."""

import subprocess
import sys
import tarfile
from dataclasses import replace as changed
from pathlib import Path

import pytest

from intercomd.core.snapshot import Role, SavedCall, SavedPhase, Snapshot
from intercomd.core.vocabulary import CallRecord, EndReason
from intercomd.ids import CallId, IdentityId
from tests.crash import __main__ as command
from tests.crash import figures, promise, states, trial, vfs
from tests.crash.block import Disk
from tests.crash.budget import Cost, cases
from tests.crash.life import script
from tests.crash.promise import EMPTY, Found, Promise, State
from tests.crash.states import Change, Crash, Create, Delete, Event, Flush, Truncate, Write
from tests.crash.trial import Outcome, Trial, replay, run

ROOT = Path(__file__).parents[2]


def in_call(number: int) -> Snapshot:
    call_id = CallId(f"c{number}")
    return Snapshot(SavedCall(call_id, Role.CALLER, IdentityId("flat"), SavedPhase.CONNECTED, 1, 1000.0, 1002.0))


def record(number: int) -> CallRecord:
    return CallRecord(f"c{number}", "flat", "caller", EndReason.COMPLETED, 1000.0, 1010.0)


FIRST = promise.opened(Found("me"))
RECORD = promise.records_of([record(1)])


def promised(*marks: promise.Mark) -> Promise:
    made = Promise()
    for mark in marks:
        made = made.after(mark)
    return made


def found(snapshot: Snapshot, *records: CallRecord, instance: str = "me") -> Found:
    return Found(instance, State.of(snapshot), promise.records_of(records))


# ------------------------------------------------------------------------------------------------ the promise


def test_before_the_first_start_has_ended_any_new_store_will_do() -> None:
    assert promised(promise.opening()).broken_by(Found("anybody")) == ""


def test_what_was_acknowledged_must_be_there_and_what_was_asked_may() -> None:
    asked = promised(FIRST, promise.saving(in_call(1), None))
    assert asked.broken_by(found(Snapshot())) == ""
    assert asked.broken_by(found(in_call(1))) == ""
    answered = asked.after(promise.saved())
    assert answered.broken_by(found(in_call(1))) == ""
    assert answered.broken_by(found(Snapshot())) == "lost: state 0 came back, 1 was acknowledged"


def test_a_call_that_is_over_is_a_ghost_when_it_comes_back() -> None:
    over = promised(
        FIRST, promise.saving(in_call(1), None), promise.saved(), promise.saving(Snapshot(), record(1)), promise.saved()
    )
    assert over.broken_by(found(Snapshot(), record(1))) == ""
    assert "a ghost call" in over.broken_by(found(in_call(1)))


def test_a_record_may_go_only_when_the_hub_has_it_and_may_not_come_back() -> None:
    kept = promised(FIRST, promise.saving(in_call(1), record(1)), promise.saved())
    assert "1 of 1 acknowledged records" in kept.broken_by(found(in_call(1)))
    going = kept.after(promise.forgetting([record(1)]))
    assert going.broken_by(found(in_call(1))) == ""
    assert going.broken_by(found(in_call(1), record(1))) == ""
    gone = going.after(promise.forgotten())
    assert gone.broken_by(found(in_call(1))) == ""
    assert "resurrected" in gone.broken_by(found(in_call(1), record(1)))


def test_what_a_full_disk_refused_lands_with_the_next_save() -> None:
    refused = promised(FIRST, promise.saving(in_call(1), record(1)), promise.saving(in_call(2), None))
    assert refused.broken_by(found(Snapshot())) == ""
    landed = refused.after(promise.saved())
    assert "lost" in landed.broken_by(found(in_call(1), record(1)))
    assert "records" in landed.broken_by(found(in_call(2)))


def test_a_state_that_nobody_wrote_another_identity_and_a_file_set_aside_are_broken() -> None:
    kept = promised(FIRST, promise.saving(in_call(1), None), promise.saved())
    assert "nobody wrote" in kept.broken_by(found(in_call(9)))
    assert "instance" in kept.broken_by(found(in_call(1), instance="another"))
    assert "set aside" in kept.broken_by(changed(found(in_call(1)), problem="set aside"))


def test_what_a_recovery_has_read_is_promised() -> None:
    torn = promised(FIRST, promise.saving(in_call(1), record(1)))
    read = torn.after(promise.opened(found(in_call(1), record(1))))
    assert "lost" in read.broken_by(found(Snapshot()))


def test_marks_survive_the_way_through_the_recorder() -> None:
    for mark in (FIRST, promise.saving(in_call(1), record(1)), promise.saved(), promise.forgetting([record(1)])):
        assert promise.Mark.from_json(mark.to_json()) == mark


# ------------------------------------------------------------------------------------------------ what may be left


def sector(fill: int) -> bytes:
    return bytes([fill]) * states.SECTOR


def left(events: list[Event], disk: Disk, parts: int = 64) -> list[tuple[Crash, bytes]]:
    seen = []
    for crash in states.crashes(events, disk, "test", parts):
        image = bytearray(len(disk.image))
        disk.after(crash.arrived, image)
        seen.append((crash, bytes(image)))
    return seen


def test_of_two_writes_without_a_flush_any_may_be_left_and_each_torn() -> None:
    first, second = Write("", 0, sector(1) + sector(2)), Write("", 1024, sector(3))
    images = {image for _, image in left([first, second], Disk(bytes(1536)))}
    wanted = {
        (sector(1) if one else sector(0)) + (sector(2) if two else sector(0)) + (sector(3) if three else sector(0))
        for one in (0, 1)
        for two in (0, 1)
        for three in (0, 1)
    }
    assert images | {bytes(1536)} == wanted


def test_what_was_flushed_stays() -> None:
    events: list[Event] = [Write("", 0, sector(1)), Flush(), Write("", 0, sector(2)), Write("", 512, sector(3))]
    after = [image for crash, image in left(events, Disk(bytes(1024))) if crash.event > 0]
    assert all(image[:1] in (b"\1", b"\2") for image in after)


def test_after_an_answer_the_store_is_judged_without_what_was_not_flushed() -> None:
    events: list[Event] = [FIRST, promise.saving(in_call(1), None), Write("", 0, sector(1)), promise.saved()]
    judged = [(image, crash.promise.floor) for crash, image in left(events, Disk(bytes(512)))]
    assert (bytes(512), 1) in judged, "the lost acknowledgement"
    assert (sector(1), 1) in judged


def test_the_same_seed_makes_the_same_states_and_each_by_itself() -> None:
    events: list[Event] = [Write("", 4096 * place, sector(1) * 8) for place in range(4)]
    once, twice = ([image for _, image in left(list(events), Disk(bytes(4096 * 4)), 16)] for _ in range(2))
    assert once == twice


def test_equal_contents_have_equal_keys_and_others_have_not() -> None:
    disk = Disk(bytes(1024))
    assert disk.key([Write("", 0, sector(1))]) != disk.key([])
    assert disk.key([Write("", 0, sector(1)), Write("", 0, sector(0))]) == disk.key([])
    before = disk.key([Write("", 0, sector(1)), Write("", 512, sector(2))])
    disk.apply([Write("", 512, sector(2))])
    assert disk.key([Write("", 0, sector(1))]) == before
    assert Disk(sector(1) + sector(2)).key([]) == before


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([Create("a#1"), Write("a#1", 0, b"x")], {"a": b"x"}),
        ([Write("a#1", 0, b"x")], {}),
        ([Create("a#1"), Write("a#1", 2, b"x")], {"a": b"\0\0x"}),
        ([Create("a#1"), Write("a#1", 0, b"xyz"), Truncate("a#1", 1)], {"a": b"x"}),
        ([Create("a#1"), Delete("a#1", False), Create("a#2")], {"a": b""}),
    ],
)
def test_a_file_is_what_its_name_leads_to(changes: list[Change], names: dict[str, bytes]) -> None:
    assert vfs.Files().after(changes) == names


def test_a_files_sync_settles_its_own_writes_and_a_new_ones_name() -> None:
    files = vfs.Files({"db": b"old"})
    pending: list[Change] = [Create("wal#1"), Write("wal#1", 0, b"w"), Write("db#0", 0, b"new")]
    settled = files.settle(Flush("wal#1"), pending)
    assert settled == (pending[:2], pending[2:])
    settled = files.settle(Delete("wal#1", True), pending)
    assert settled is not None
    assert settled[0] == [pending[0], Delete("wal#1", True)]
    assert files.settle(Delete("wal#1", False), pending) is None


# ------------------------------------------------------------------------------------------------ whole trials


def test_the_shipped_store_keeps_its_promise_in_every_state_of_its_files() -> None:
    outcome = run(Trial("vfs", "shipped", 0, 8, again_every=100))
    assert outcome.first == []
    assert outcome.states > 200
    assert outcome.again > 10


@pytest.mark.parametrize("mode", ["DELETE+FULL", "WAL+NORMAL"])
def test_a_mode_that_loses_what_it_acknowledged_is_caught(mode: str) -> None:
    outcome = run(Trial("vfs", mode, 0, 2))
    assert outcome.lost > outcome.judged / 20


def test_a_broken_state_is_kept_and_found_again_in_its_recording(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trial, "KEPT", tmp_path)
    monkeypatch.setitem(trial.MODES, "shipped", trial.MODES["WAL+NORMAL"])
    outcome = run(Trial("vfs", "shipped", 3, 2, again_every=50))
    first = outcome.first[0]
    with tarfile.open(first.kept) as archive:
        assert archive.getnames()
    assert "event" in first.where
    again = replay(next(tmp_path.glob("*-1.recording.gz")))
    assert (again.first[0].where, again.first[0].problem) == (first.where, first.problem)


def test_a_life_covers_the_first_start_a_clean_close_and_the_one_after_it() -> None:
    life = script(0)
    assert life.before is None
    assert life.processes[0].closes
    assert len(life.processes) > 1
    events = vfs.record(life, "cover").events
    deleted = [number for number, event in enumerate(events) if isinstance(event, Delete) and "wal" in event.file]
    assert deleted
    assert any(isinstance(event, Create) and "wal" in event.file for event in events[deleted[0] :])


def test_a_life_that_begins_before_a_checkpoint_sees_one() -> None:
    recording = vfs.record(script(2), "checkpoint")
    database = [
        event
        for event in recording.events[recording.begin :]
        if isinstance(event, Write) and vfs.name_of(event.file) == str(vfs.FILE)
    ]
    assert database


@pytest.mark.platform("crashlab")
def test_on_a_real_disk_the_shipped_store_keeps_its_promise_and_the_bad_mode_is_caught() -> None:
    """In a process of its own: it takes mounts of its own."""
    program = (
        "from tests.crash import kernel; from tests.crash.trial import Trial, run; kernel.own_mounts();"
        "good = run(Trial('block', 'shipped', 0, 0)); bad = run(Trial('block', 'WAL+NORMAL', 0, 0));"
        "print(good.states, good.broken, bad.states, bad.lost)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    states_of_good, broken, states_of_bad, lost = map(int, done.stdout.split())
    assert states_of_good > 50
    assert broken == 0
    assert states_of_bad > 20
    assert lost > 10


def test_trials_go_to_the_level_that_lacks_most_and_end_with_the_time() -> None:
    plan = command.Plan({"block": 10, "vfs": 100}, {"block": 1000, "vfs": 150}, {"block": 1, "vfs": 1}, 60.0, 0)

    def level(block: int, files: int, spent_s: float = 0.0) -> str | None:
        chosen = command._next(plan, {"block": block, "vfs": files}, {"block": 1, "vfs": 1}, spent_s)
        return chosen.level if chosen else None

    assert [level(0, 50), level(6, 50), level(10, 99)] == ["block", "vfs", "vfs"], "the gates"
    assert [level(10, 100), level(1000, 149), level(1000, 150)] == ["block", "vfs", None], "the goals"
    assert level(0, 0, 61.0) is None


# ------------------------------------------------------------------------------------------------ the verdict

COST = Cost(10, 102400, 50, 20, 10, 0)


def measured(*outcomes: Outcome) -> figures.Measured:
    return figures.Measured(
        outcomes, dict.fromkeys((case.name for case in cases(2)), COST), 2, {"block": 100, "vfs": 100}, 1.0
    )


def tried(level: str, mode: str, judged: int = 200, broken: int = 0) -> Outcome:
    return Outcome(Trial(level, mode, 0, 1), judged, judged, again=5, refused=3, broken=broken, lost=broken)


GOOD = [
    *(tried(level, "shipped") for level in ("block", "vfs", "full")),
    *(tried(level, mode, 200, 50) for level in ("block", "vfs") for mode in figures.PEERS),
]


def test_a_run_that_tried_enough_and_found_nothing_passes() -> None:
    assert figures.rows(measured(*GOOD))[1]


@pytest.mark.parametrize(
    "outcomes",
    [
        [],
        [tried("block", "shipped", 99), *GOOD[1:]],
        [GOOD[0], tried("vfs", "shipped", 99), *GOOD[2:]],
        [tried("block", "shipped", 200, 1), *GOOD[1:]],
        [*GOOD[:3], tried("block", "DELETE+FULL"), *GOOD[4:]],
        [*GOOD[:6]],
        [*GOOD[:2], *GOOD[3:]],
    ],
    ids=["nothing", "few block states", "few vfs states", "one broken", "a control kept its word", "one control",
         "no full disk"],
)  # fmt: skip
def test_a_run_fails_that_tried_too_little_or_caught_no_bad_mode(outcomes: list[Outcome]) -> None:
    assert not figures.rows(measured(*outcomes))[1]


def test_the_empty_state_is_the_one_of_a_first_start() -> None:
    assert State.of(Snapshot()) == EMPTY
