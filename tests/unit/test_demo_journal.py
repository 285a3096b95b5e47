"""Lines of the daemons' stderr: entries with their fields, and whatever else libraries print."""

import json

from intercomd.demo.journal import KEPT_LINES, Journal, JournalLine, parse_line
from intercomd.errors import ErrorCode


def test_an_entry_keeps_its_fields_and_gets_the_catalogs_advice() -> None:
    raw = {"MESSAGE": "The sound card is missing.", "PRIORITY": "3", "ERROR_CODE": "CARD_MISSING", "CALL_ID": "c1"}
    stamped = {"__REALTIME_TIMESTAMP": "1700000000250000"} | raw
    line = parse_line("door", json.dumps(stamped).encode() + b"\n", at_s=5.0)
    assert (line.at_s, line.source, line.priority, line.message) == (1700000000.25, "door", 3, raw["MESSAGE"])
    assert line.fields == {"ERROR_CODE": "CARD_MISSING", "CALL_ID": "c1"}
    assert line.advice == ErrorCode.CARD_MISSING.value.advice


def test_what_is_not_an_entry_is_kept_as_text() -> None:
    for raw in (b"ALSA lib pcm_pulse.c:758: no\n", b"[1, 2]\n", b'{"no": "message"}\n', b"\xff\xfe\n"):
        line = parse_line("flat", raw, at_s=5.0)
        assert line.at_s == 5.0
        assert line.message == raw.decode(errors="replace").rstrip()


def test_listeners_hear_until_they_leave_and_memory_is_bounded() -> None:
    journal, heard = Journal(), list[str]()
    leave = journal.follow(lambda line: heard.append(line.message))
    journal.write(JournalLine(0.0, "hub", 6, "first"))
    leave()
    for number in range(KEPT_LINES + 5):
        journal.write(JournalLine(0.0, "hub", 6, str(number)))
    assert heard == ["first"]
    assert len(tuple(journal.lines())) == KEPT_LINES
