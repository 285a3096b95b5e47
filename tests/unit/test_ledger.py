"""What was committed is struck out, and what was noted in the meantime stays."""

from intercomd.core.snapshot import Snapshot, pack
from intercomd.core.vocabulary import CallRecord, EndReason
from intercomd.flash.ledger import MAX_RECORDS, Ledger


def record(call_id: str, reason: EndReason = EndReason.COMPLETED) -> CallRecord:
    return CallRecord(call_id, "flat", "caller", reason, 1.0, 2.0)


def test_an_entry_holds_all_that_was_noted_before_it() -> None:
    ledger = Ledger()
    ledger.note(Snapshot(), record("a"))
    version = ledger.note(Snapshot(), record("b"))
    entry = ledger.read()
    assert entry.version == version
    assert entry.snapshot == pack(Snapshot())
    assert [call_id for call_id, _ in entry.records] == ["a", "b"]


def test_what_was_committed_is_struck_out() -> None:
    ledger = Ledger()
    ledger.note(Snapshot(), record("a"))
    ledger.forget(["b"])
    ledger.strike_out(ledger.read())
    assert (ledger.records, ledger.forgotten) == ({}, set())


def test_a_record_that_was_changed_during_the_commit_is_written_again() -> None:
    ledger = Ledger()
    ledger.note(Snapshot(), record("a"))
    entry = ledger.read()
    ledger.note(Snapshot(), record("a", EndReason.PEER_LOST))
    ledger.strike_out(entry)
    assert list(ledger.records) == ["a"]


def test_a_record_that_was_forgotten_during_the_commit_is_deleted_by_the_next() -> None:
    ledger = Ledger()
    ledger.note(Snapshot(), record("a"))
    entry = ledger.read()
    ledger.forget(["a"])
    ledger.strike_out(entry)
    assert (ledger.records, ledger.forgotten) == ({}, {"a"})


def test_memory_is_bounded_while_the_disk_takes_nothing() -> None:
    ledger = Ledger()
    for number in range(MAX_RECORDS + 5):
        ledger.note(Snapshot(), record(str(number)))
    assert len(ledger.records) == MAX_RECORDS
    assert next(iter(ledger.records)) == "5"
    assert ledger.dropped == 5
