"""The command `intercomctl`: asks the station's daemon through its control socket. Only the standard library, so that
it answers at once on the smallest Pi."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from intercomd import __version__
from intercomd.ctl import report
from intercomd.ctl.commission import Certificate, Proof, commission
from intercomd.ctl.connection import LIMIT_S, Connection, Garbled, Silent, Unreachable
from intercomd.texts import LANGUAGES, Language, language_of, text

DONE, FAILED, USAGE, UNREACHABLE, TRY_AGAIN = 0, 1, 2, 69, 75
"""Exit statuses; 69 and 75 are EX_UNAVAILABLE and EX_TEMPFAIL of sysexits.h."""

DEFAULT_SOCKET = "/run/intercomd/control"
RETRY_S = 0.5
COMMANDS = ("status", "call", "answer", "hangup", "speaker", "volume", "door", "dnd", "locate", "watch", "commission")
ARGUMENTS = (
    "call PEER; door [STATION]; dnd on [MINUTES]; dnd off; volume [voice|ring|prompts] 0 to 100; commission [FILE]"
)
MAX_MINUTES = 60 * 24 * 366
VOLUMES = ("voice", "ring", "prompts")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _parser()
    options = parser.parse_intermixed_args(argv)
    try:
        options.details = _details(options.command, options.arguments)
    except ValueError as error:
        parser.error(str(error))
    options.lang = options.lang or _language(os.environ)
    try:
        match options.command:
            case "watch":
                return _watch(options)
            case "commission":
                return _commission(options)
            case _:
                return _command(options)
    except KeyboardInterrupt:
        return DONE if options.command == "watch" else FAILED
    except BrokenPipeError:
        # The reader (head, grep -q) has gone: nothing can be written any more, not even at the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="intercomctl",
        description="Ask the intercom station on this machine.",
        epilog="exit status: 0 done, 1 failed, 2 wrong usage, 69 daemon not reachable, 75 try again",
    )
    parser.add_argument("--version", action="version", version=f"intercomctl {__version__}")
    default = os.environ.get("INTERCOMD_CONTROL") or DEFAULT_SOCKET
    parser.add_argument("--socket", metavar="PATH", default=default, help="default: $INTERCOMD_CONTROL or %(default)s")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.add_argument("--lang", choices=LANGUAGES, help="default: as LANG says")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help=ARGUMENTS)
    return parser


def _details(command: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What goes along with the command. Raises `ValueError` with what is wrong."""
    match command, *arguments:
        case "call", peer:
            return {"peer": peer}
        case "call", *_:
            raise ValueError("call needs PEER, whom to call")
        case "commission", file:
            return {"file": file}
        case "door", station:
            return {"station": station}
        case "dnd", "on":
            return {"on": True}
        case "dnd", "on", minutes:
            return {"on": True, "minutes": _minutes(minutes)}
        case "dnd", "off":
            return {"on": False}
        case "dnd", *_:
            raise ValueError("dnd needs on or off; on may name for how many minutes")
        case "volume", percent:
            return {"percent": _percent(percent)}
        case "volume", kind, percent if kind in VOLUMES:
            return {"kind": kind, "percent": _percent(percent)}
        case "volume", *_:
            raise ValueError(f"volume needs a number, 0 (off) to 100, and may name {', '.join(VOLUMES)} before it")
        case _, _, *_:
            raise ValueError(f"{command} takes no name")
    return {}


def _percent(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 100):
        raise ValueError(f"a volume is a number from 0 (off) to 100, not {text!r}")
    return int(text)


def _minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_MINUTES):
        raise ValueError(f"minutes are a number from 1 to {MAX_MINUTES}, not {text!r}")
    return int(text)


def _language(environ: Mapping[str, str]) -> Language:
    """As setlocale(3) looks for messages' language."""
    return language_of(next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), ""))


# ------------------------------------------------------------------------------------------------- one question


def _command(options: argparse.Namespace) -> int:
    request = {"command": options.command, **options.details}
    try:
        with Connection(options.socket) as connection:
            reply = connection.ask(request)
    except (Unreachable, Silent, Garbled) as error:
        return _refuse(options, *_explained(error, options))
    if reply.get("ok") is not True:
        return _refuse(options, report.printable(reply.get("message") or "?"), _exit_of(reply))
    status = reply.get("status")
    if options.command == "status" and not isinstance(status, dict):
        return _refuse(options, *_explained(Garbled("no status in the answer"), options))
    _write(json.dumps(status or reply, ensure_ascii=False) if options.json else _answer(status, options.lang))
    return DONE


def _answer(status: Any, language: Language) -> str:
    return report.table(status, language, time.time()) if isinstance(status, dict) else text("ctl.done", language)


def _exit_of(reply: Mapping[str, Any]) -> int:
    """The daemon may say 1, 2 or 75; anything else is a plain failure."""
    return next((code for code in (USAGE, TRY_AGAIN) if reply.get("exit") == code), FAILED)


def _refuse(options: argparse.Namespace, message: str, status: int) -> int:
    if options.json:
        _write(json.dumps({"ok": False, "message": message, "exit": status}, ensure_ascii=False))
    else:
        sys.stderr.write(f"{message}\n")
    return status


def _explained(error: Exception, options: argparse.Namespace) -> tuple[str, int]:
    """What went wrong and what to do, with the exit status."""
    if isinstance(error, Unreachable):
        message = text("ctl.unreachable", options.lang).format(socket=options.socket, reason=error)
        advice = text("ctl.advice.group" if error.denied else "ctl.advice.start", options.lang)
        return f"{message}\n{advice}", UNREACHABLE
    if isinstance(error, Silent):
        return text("ctl.silent", options.lang).format(seconds=f"{LIMIT_S:g}"), UNREACHABLE
    return text("ctl.garbled", options.lang).format(reason=error), FAILED


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# --------------------------------------------------------------------------------------------------- commission


def _commission(options: argparse.Namespace) -> int:
    """The certificate goes to standard output and, if one is named, to a file; the dialogue to standard error."""
    try:
        certificate = commission(options.socket, options.lang, lambda proof: _told(proof, options.lang))
    except (Unreachable, Silent, Garbled) as error:
        return _refuse(options, *_explained(error, options))
    shown = json.dumps(certificate.checks(), ensure_ascii=False) if options.json else certificate.lines(options.lang)
    _write(shown)
    return DONE if _kept(certificate, options) and certificate.ok else FAILED


def _told(proof: Proof, language: Language) -> None:
    verdict = text("ctl.proof.passed" if proof.ok else "ctl.proof.failed", language)
    sys.stderr.write(f"  {verdict}  {proof.name}: {proof.told}\n")


def _kept(certificate: Certificate, options: argparse.Namespace) -> bool:
    """Whether it lies where the installer wants it."""
    file = options.details.get("file")
    if file is None:
        return True
    try:
        with open(file, "w", encoding="utf-8", newline="\r\n") as kept:  # any computer's simplest editor
            kept.write(certificate.lines(options.lang) + "\n")
            kept.flush()
            os.fsync(kept.fileno())
    except OSError as error:
        _refuse(options, f"{file}: {error.strerror}", FAILED)
        return False
    return True


# -------------------------------------------------------------------------------------------------------- watch


def _watch(options: argparse.Namespace) -> int:
    """Print changes until Ctrl-C. Only a daemon that is not there at the start is a failure."""
    try:
        connection = Connection(options.socket)
    except Unreachable as error:
        return _refuse(options, *_explained(error, options))
    shown: str | None = ""
    for status in _watched(connection, options.socket):
        if status is None:
            shown = None
            _write_daemon("away", options)
            continue
        if shown is None:
            _write_daemon("back", options)
        line = json.dumps(status, ensure_ascii=False) if options.json else report.line(status, options.lang)
        if line != shown:
            _write(line if options.json else f"{_clock()}  {line}")
        shown = line
    return DONE


def _watched(connection: Connection, path: str) -> Iterator[dict[str, Any] | None]:
    """Every status, for ever; None once each time when the daemon goes away."""
    here = True
    while True:
        with connection:
            for status in _statuses(connection):
                here = True
                yield status
        if here:
            here = False
            yield None
        connection = _reconnected(path)


def _statuses(connection: Connection) -> Iterator[dict[str, Any]]:
    """Every status of one connection. No change for long is not a fault; a daemon that hangs is ended by its
    watchdog, and then its socket closes."""
    try:
        connection.send({"command": "watch", "levels": False})
        while True:
            try:
                status = connection.receive().get("status")
            except Silent:
                continue
            if isinstance(status, dict):
                yield status
    except (Unreachable, Silent, Garbled):
        return


def _reconnected(path: str) -> Connection:
    """A connection, after as many attempts as it takes."""
    while True:
        time.sleep(RETRY_S)
        try:
            return Connection(path)
        except Unreachable:
            continue


def _write_daemon(state: str, options: argparse.Namespace) -> None:
    words = f"{_clock()}  {text(f'ctl.{state}', options.lang)}"
    _write(json.dumps({"daemon": state}) if options.json else words)


def _clock() -> str:
    return time.strftime("%H:%M:%S")


if __name__ == "__main__":
    sys.exit(main())
