"""`intercomd hub add-station NAME [--group G]`, `invite NAME [--group G]`, `revoke NAME`, `list`."""

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from intercomd.config import Config, Hub
from intercomd.hub.database import Database, DatabaseError, claimed, path_of
from intercomd.hub.office import MAX_LINE_BYTES, ORDER_LIMIT_S, Entry, Order, Result, carry_out, socket_path
from intercomd.hub.sessions import DAY_S, INVITATION_LIFE_S

DONE, FAILED, TRY_AGAIN = 0, 1, 75

_ONCE = f"It works once, within {INVITATION_LIFE_S / DAY_S:.0f} days; another phone needs another one."


def main(config: Config, argv: Sequence[str]) -> int:
    """Carry out one admin command; returns the exit status."""
    order, as_json = _parse(argv)
    try:
        result = asyncio.run(_perform(config.hub, order))
    except DatabaseError as error:
        print(f"intercomd hub: {error}", file=sys.stderr)
        return TRY_AGAIN
    if not result.ok:
        print(f"intercomd hub: {result.message}", file=sys.stderr)
        return FAILED
    _show(config.hub, order, result, as_json)
    return DONE


def link(hub: Hub, code: str) -> str:
    """A resident's link. The code stands behind `#`, which browsers do not send to servers or proxies."""
    return f"{public_url(hub)}/#{code}"


def public_url(hub: Hub) -> str:
    """Where people reach the hub, without a slash at the end."""
    if hub.public_url:
        return hub.public_url.rstrip("/")
    host = socket.gethostname() if hub.listen in ("0.0.0.0", "::") else hub.listen  # noqa: S104
    return f"{'https' if hub.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{hub.port}"


def _parse(argv: Sequence[str]) -> tuple[Order, bool]:
    parser = argparse.ArgumentParser(prog="intercomd hub", description="Administer the hub.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, text in (
        ("add-station", "make a station known, or give it a new token; prints the token, once"),
        ("invite", "print a link that signs in one browser of a resident, once; an earlier unused one ends"),
    ):
        adding = commands.add_parser(command, help=text, description=text)
        adding.add_argument("name", metavar="NAME")
        adding.add_argument("--group", metavar="G", help="also make it a member of this group")
    text = "end a station's token, or every session and invitation of a resident, at once"
    revoking = commands.add_parser("revoke", help=text, description=text)
    revoking.add_argument("name", metavar="NAME")
    listing = commands.add_parser("list", help="who is known, who is connected")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    options = parser.parse_args(argv)
    if options.command == "list":
        return Order("list"), options.json
    return Order(options.command, options.name, getattr(options, "group", None)), False


async def _perform(hub: Hub, order: Order) -> Result:
    """Through the running hub if there is one: its database has exactly one connection."""
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


async def _perform_here(hub: Hub, order: Order) -> Result:
    database = Database(hub.database_url)
    await database.open()
    try:
        return await carry_out(order, database, None, time.time())
    finally:
        await database.close()


def _show(hub: Hub, order: Order, result: Result, as_json: bool) -> None:
    if result.token is not None:
        is_link = order.command == "invite"
        print(link(hub, result.token) if is_link else result.token)
        print(_ONCE if is_link else "Keep it: it is not shown again.", file=sys.stderr)
    elif order.command == "revoke":
        print(f"{order.name} is signed out everywhere.", file=sys.stderr)
    elif as_json:
        print(msgspec.json.encode(result.entries).decode())
    else:
        for line in _table(result.entries):
            print(line)


def _table(entries: Sequence[Entry]) -> list[str]:
    rows = [("NAME", "ROLE", "GROUPS", "CONNECTED")]
    rows += [(entry.name, entry.role, " ".join(entry.groups) or "-", _connected(entry)) for entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _connected(entry: Entry) -> str:
    if entry.role == "group":
        return "-"
    if entry.devices is None:
        return "hub not running"
    return "no" if not entry.devices else "yes" if entry.devices == 1 else f"{entry.devices} devices"
