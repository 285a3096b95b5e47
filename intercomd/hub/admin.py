"""`intercomd hub COMMAND`: what an operator does at the hub's own machine."""

import argparse
import asyncio
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import segno

from intercomd.config import Config, ConfigError, Hub, database_password
from intercomd.hub.api import pairing
from intercomd.hub.calling.presence import Presence
from intercomd.hub.office import (
    MAX_LINE_BYTES,
    ORDER_LIMIT_S,
    READING,
    Entry,
    Order,
    Result,
    Rule,
    carry_out,
    socket_path,
)
from intercomd.hub.people import links
from intercomd.hub.people.administrators import LINK_LIFE_S, Purpose
from intercomd.hub.people.estate import OVERLAP_S
from intercomd.hub.people.rights import EVERYBODY, Action
from intercomd.hub.people.sessions import DAY_S, INVITATION_LIFE_S
from intercomd.hub.shared.devices import look_elsewhere
from intercomd.hub.shared.statements import CHANNEL, DIRECTORY
from intercomd.hub.storage.database import Database, DatabaseError, claimed, is_shared, path_of
from intercomd.hub.storage.moving import move
from intercomd.hub.web.authority import Authority, AuthorityError, Files

Item = TypeVar("Item")

DONE, FAILED, TRY_AGAIN = 0, 1, 75

_ONCE = f"It works once, within {INVITATION_LIFE_S / DAY_S:.0f} days; another phone needs another one."
_ONCE_SOON = f"It works once, within {LINK_LIFE_S / 3600:.0f} hours."
_NAMED: tuple[tuple[str, str], ...] = (
    ("add-station", "make a station known, or give it a new token; prints the token, once"),
    ("pair", "make a code by which a station gets its token, once; prints it as text and QR code"),
    ("rotate", f"give a station a new token; the former one works for {OVERLAP_S / 3600:.0f} hours more"),
    ("invite", "print a link that signs in one browser of a resident, once; an earlier unused one ends"),
    ("revoke", "end a station's tokens, or every session and invitation of a resident, at once"),
    ("ban", "keep a station or a resident out, whatever it shows, at once"),
    ("unban", "let it in again"),
    ("add-admin", "print a link with which a new administrator chooses a password, once"),
    ("reset-admin", "print such a link for one who has forgotten the password"),
)
_RULES: tuple[tuple[str, str], ...] = (
    ("allow", "let WHO call WHOM, or open its door"),
    ("forbid", "do not let WHO call WHOM, or open its door"),
    ("clear", "forget such a rule"),
)


def main(config: Config, argv: Sequence[str]) -> int:
    """Carry out one admin command; returns the exit status."""
    options = _parse(argv)
    try:
        if options["command"] == "move":
            return _move(config.hub, Path(options["name"]))
        as_json = bool(options.pop("json", False))
        order = Order(**options)
        fingerprint = _fingerprint(config.hub) if order.command == "pair" else ""
        if order.typed and not fingerprint:
            print(f"intercomd hub: {pairing.NO_FINGERPRINT}", file=sys.stderr)
            return FAILED
        result = asyncio.run(_perform(config.hub, order, database_password(config.hub, os.environ)))
    except (DatabaseError, AuthorityError, ConfigError) as error:
        print(f"intercomd hub: {error}", file=sys.stderr)
        return TRY_AGAIN
    if not result.ok:
        print(f"intercomd hub: {result.message}", file=sys.stderr)
        return FAILED
    _show(config.hub, order, result, fingerprint, as_json=as_json)
    return DONE


def _parse(argv: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="intercomd hub", description="Administer the hub.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, text in _NAMED:
        named = commands.add_parser(command, help=text, description=text)
        named.add_argument("name", metavar="NAME")
        if command in ("add-station", "invite"):
            named.add_argument("--group", metavar="G", help="also make it a member of this group")
        if command == "rotate":
            named.add_argument("--now", dest="at_once", action="store_true", help="the former token ends at once")
        if command == "pair":
            named.add_argument("--typed", action="store_true", help="8 digits to type, for 10 minutes")
    text = "print a link with which the first administrator chooses name and password, once"
    commands.add_parser("set-up", help=text, description=text)
    for command, text in _RULES:
        ruling = commands.add_parser(command, help=text, description=f"{text}. '{EVERYBODY}' stands for everybody.")
        ruling.add_argument("name", metavar="WHO")
        ruling.add_argument("action", type=Action, choices=tuple(Action), metavar=" | ".join(Action))
        ruling.add_argument("object", metavar="WHOM")
    for command, text in (("list", "who is known, who is connected"), ("rights", "who may call whom, and open which")):
        listing = commands.add_parser(command, help=text)
        listing.add_argument("--json", action="store_true", help="as one JSON list")
    text = "copy what a stopped hub of one process knows into the PostgreSQL of hub.database_url, which must be new"
    moving = commands.add_parser("move", help=text, description=text)
    moving.add_argument("name", metavar="FILE", help="its SQLite file, as /var/lib/intercomd-hub/hub.db")
    return vars(parser.parse_args(argv))


async def _perform(hub: Hub, order: Order, password: str) -> Result:
    """Through the running hub if there is one: SQLite's file has exactly one connection. A PostgreSQL is open to
    whoever has its password, and its hubs hear what was changed."""
    if is_shared(hub.database_url):
        return await _perform_beside(hub, order, password)
    path = path_of(hub.database_url)
    try:
        return await _ask(socket_path(path), order)
    except (FileNotFoundError, ConnectionRefusedError):
        with claimed(path):
            return await _perform_here(hub, order)


async def _ask(path: Path, order: Order) -> Result:
    try:
        async with asyncio.timeout(ORDER_LIMIT_S):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=MAX_LINE_BYTES * 64)
            try:
                writer.write(msgspec.json.encode(order) + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
        return msgspec.json.decode(line, type=Result)
    except PermissionError as error:
        raise DatabaseError(f"{path}: {error.strerror}; run this as root or as the hub's user") from error
    except (TimeoutError, msgspec.DecodeError) as error:
        raise DatabaseError(f"{path}: the hub did not answer; look at its journal") from error


def _move(hub: Hub, file: Path) -> int:
    if not is_shared(hub.database_url):
        raise DatabaseError("hub.database_url names no PostgreSQL; configure where to move to")
    if not file.is_file():
        raise DatabaseError(f"{file}: there is no such file; name the SQLite file of the hub until now")
    source = Database(f"sqlite+aiosqlite:///{file.absolute()}")
    target = Database(hub.database_url, database_password(hub, os.environ))
    with source.claimed():
        rows = asyncio.run(_moved(source, target))
    print(f"{rows} rows are in {target.name} now. {file} is as it was: keep it until all is well.", file=sys.stderr)
    return DONE


async def _moved(source: Database, target: Database) -> int:
    async with aclosing(source), aclosing(target):
        await source.open()
        await target.open()
        counts = await move(source, target, lambda table, rows: print(f"{table}: {rows}", file=sys.stderr))
    return sum(counts.values())


async def _perform_beside(hub: Hub, order: Order, password: str) -> Result:
    database, presence = Database(hub.database_url, password), Presence()
    await database.open()
    try:
        await look_elsewhere(database, presence)
        result = await carry_out(order, database, presence, time.time())
        if result.ok and order.command not in READING:
            await database.announce(CHANNEL, DIRECTORY)
        return result
    finally:
        await database.close()


async def _perform_here(hub: Hub, order: Order) -> Result:
    database = Database(hub.database_url)
    await database.open()
    try:
        return await carry_out(order, database, None, time.time())
    finally:
        await database.close()


def _fingerprint(hub: Hub) -> str:
    """Of what stations pin. Raises `AuthorityError`, too where the hub has not made its certificate yet."""
    if not hub.uses_tls:
        return ""
    authority = Authority()
    authority.take(Files(Path(hub.tls_dir)).certificate if hub.tls == "local" else Path(hub.tls_cert))
    return authority.fingerprint


def _show(hub: Hub, order: Order, result: Result, fingerprint: str, *, as_json: bool) -> None:
    """What was made goes to stdout, what to know about it to stderr."""
    token, url = result.token or "", links.public_url(hub)
    match order.command:
        case "add-station":
            _made(token, "Keep it: it is not shown again.")
        case "rotate":
            former = (
                "The former one has ended." if result.until is None else f"The former one ends {_at(result.until)}."
            )
            _made(token, f"Keep it: it is not shown again. {former}")
        case "invite":
            _made(links.invitation(url, token), _ONCE)
        case "set-up":
            _made(links.administrator(url, token, Purpose.SET_UP), _ONCE_SOON)
        case "add-admin" | "reset-admin":
            _made(links.administrator(url, token, Purpose.PASSWORD), _ONCE_SOON)
        case "pair":
            _show_pairing(order, url, token, fingerprint, result.until)
        case "list":
            _listed(result.entries, _entry_rows, as_json=as_json)
        case "rights":
            _listed(result.rules, _rule_rows, as_json=as_json)
        case "revoke":
            print(f"{order.name} is signed out everywhere.", file=sys.stderr)
        case "ban":
            print(f"{order.name} is kept out.", file=sys.stderr)
        case _:
            print("Done.", file=sys.stderr)


def _made(text: str, note: str) -> None:
    print(text)
    print(note, file=sys.stderr)


def _show_pairing(order: Order, url: str, code: str, fingerprint: str, until: float | None) -> None:
    ends = "" if until is None else f", until {_at(until)}"
    if order.typed:
        print(f"{code[:4]} {code[4:]}")
        print(f"{url}\n{fingerprint}", file=sys.stderr)
        print(f"At the station: intercomd pair {url} {code}", file=sys.stderr)
        print(f"It works once{ends}. Compare the fingerprint.", file=sys.stderr)
        return
    line = pairing.payload(url, code, fingerprint)
    print(line)
    drawn = io.StringIO()
    segno.make(line, error="l", micro=False).terminal(drawn, compact=True)
    print(drawn.getvalue(), file=sys.stderr)
    print(f"For pairing.txt on the card, or `intercomd pair --file`. It works once{ends}.", file=sys.stderr)


def _at(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))


def _listed(items: Sequence[Item], rows: Callable[[Sequence[Item]], list[tuple[str, ...]]], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(items).decode())
        return
    for line in _table(rows(items)):
        print(line)


def _entry_rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAME", "ROLE", "GROUPS", "CONNECTED")]
    return rows + [(entry.name, entry.role, " ".join(entry.groups) or "-", _connected(entry)) for entry in entries]


def _rule_rows(rules: Sequence[Rule]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("WHO", "", "ACTION", "WHOM")]
    verbs = {True: "may", False: "may not"}
    return rows + [(rule.subject, verbs[rule.allowed], rule.action.value, rule.object) for rule in rules]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _connected(entry: Entry) -> str:
    if entry.banned:
        return "banned"
    if entry.role == "group":
        return "-"
    if entry.devices is None:
        return "hub not running"
    return "no" if not entry.devices else "yes" if entry.devices == 1 else f"{entry.devices} devices"
