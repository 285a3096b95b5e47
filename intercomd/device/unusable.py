"""What a station leaves behind when its configuration cannot be used, for `intercomd fault` to tell: in the unit's
runtime directory, since only the daemon that failed knows what was wrong for its user and its credentials."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from intercomd.adapters.journal import SystemdJournal, open_journal
from intercomd.config import ConfigError, Mistake
from intercomd.errors import ErrorCode

NAME = "mistakes.json"


def tell(error: ConfigError, environ: Mapping[str, str]) -> None:
    """Every mistake to the journal, or to stderr where that is none; and left behind. Never raises."""
    journal = open_journal()
    if isinstance(journal, SystemdJournal):
        for mistake in error.mistakes:
            journal.report(ErrorCode.CONFIG_INVALID, reason=f"{error.file}: {mistake}")
    else:
        sys.stderr.write(f"{error}\n")
    journal.close()
    leave(error.mistakes, environ)


def leave(mistakes: Sequence[Mistake], environ: Mapping[str, str]) -> None:
    """Where there is a runtime directory. None: the configuration is good, nothing is left from before."""
    directory = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if not directory:
        return
    file = Path(directory) / NAME
    try:
        if mistakes:
            file.write_text(json.dumps([[mistake.where, mistake.wrong, mistake.allowed] for mistake in mistakes]))
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        sys.stderr.write(f"{file}: {error.strerror}\n")


def left(directory: Path) -> Sequence[Mistake]:
    """What was left there; nothing if it cannot be read."""
    try:
        found = json.loads((directory / NAME).read_text())
        return tuple(Mistake(str(where), str(wrong), str(allowed)) for where, wrong, allowed in found)
    except (OSError, ValueError, TypeError):
        return ()
