"""Administration by command: stations and their tokens, residents' invitations, administrators' links, rights, who is
known. Carried out by the running hub through a socket that only its own user can open, or directly on the database when
no hub runs."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from intercomd.hub.api import pairing
from intercomd.hub.calling.presence import Presence
from intercomd.hub.people import administrators, directory, estate, sessions
from intercomd.hub.people.directory import Directory, DirectoryError, Role
from intercomd.hub.people.rights import Action, Right
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.ids import IdentityId

MAX_LINE_BYTES = 64 * 1024
ORDER_LIMIT_S = 10.0
BACKLOG = 8


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line to the admin socket."""

    command: Literal[
        "add-station", "pair", "rotate", "invite", "revoke", "ban", "unban", "list",
        "set-up", "add-admin", "reset-admin", "allow", "forbid", "clear", "rights",
    ]  # fmt: skip
    name: str = ""
    group: str | None = None
    action: Action | None = None
    object: str = ""
    at_once: bool = False
    typed: bool = False


class Rule(msgspec.Struct, frozen=True):
    """Who may, or may not, do what to whom; "*" is everybody."""

    subject: str
    action: Action
    object: str
    allowed: bool


class Entry(msgspec.Struct, frozen=True):
    """`devices`: how many are connected; None when no hub runs."""

    name: str
    role: str
    groups: tuple[str, ...] = ()
    devices: int | None = None
    banned: bool = False


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line back."""

    ok: bool
    message: str = ""
    token: str | None = None
    until: float | None = None
    entries: tuple[Entry, ...] = ()
    rules: tuple[Rule, ...] = ()


READING = ("list", "rights")
"""What changes nothing."""


def socket_path(database: Path) -> Path:
    """Beside the database: whoever may read the one may use the other."""
    return database.with_name(database.name + ".admin")


async def carry_out(order: Order, database: Database, presence: Presence | None, now_s: float) -> Result:
    """Raises `DatabaseError`."""
    try:
        if order.command in READING:
            known = await directory.read(database)
            return Result(ok=True, entries=_entries(known, presence), rules=_rules(known))
        token, until = await _change(order, database, now_s)
    except DirectoryError as error:
        return Result(ok=False, message=str(error))
    return Result(ok=True, token=token, until=until)


async def _change(order: Order, database: Database, now_s: float) -> tuple[str | None, float | None]:
    """What was made, if something was, and until when something lasts. Raises `DirectoryError` and `DatabaseError`."""
    name = order.name
    match order.command:
        case "add-station":
            return await directory.enrol(database, name, Role.STATION, order.group, now_s), None
        case "pair":
            return await pairing.create(database, name, now_s, typed=order.typed)
        case "rotate":
            return await estate.rotate(database, name, now_s, at_once=order.at_once)
        case "invite":
            return await sessions.invite(database, name, order.group, now_s), None
        case "revoke":
            await sessions.revoke(database, name)
        case "ban" | "unban":
            await estate.ban(database, name, now_s if order.command == "ban" else None)
        case "set-up":
            return await administrators.set_up(database, now_s), None
        case "add-admin" | "reset-admin":
            return await administrators.invite(database, name, now_s, known=order.command == "reset-admin"), None
        case "allow" | "forbid" | "clear":
            await _rule(order, database)
    return None, None


async def _rule(order: Order, database: Database) -> None:
    if order.action is None:
        raise DirectoryError(f"what about? {', '.join(Action)}")
    if order.command == "clear":
        await estate.clear_right(database, order.name, order.action, order.object)
    else:
        right = Right(IdentityId(order.name), order.action, IdentityId(order.object), order.command == "allow")
        await estate.set_right(database, right)


def _entries(known: Directory, presence: Presence | None) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            name=identity.id,
            role=identity.role.value,
            groups=tuple(sorted(known.memberships.get(identity.id, ()))),
            devices=None if presence is None else _devices(presence, identity.id),
            banned=identity.banned,
        )
        for identity in known.identities.values()
    )


def _rules(known: Directory) -> tuple[Rule, ...]:
    return tuple(Rule(rule.subject, rule.action, rule.object, rule.allowed) for rule in known.rights.rules)


def _devices(presence: Presence, identity: IdentityId) -> int:
    return len(presence.online((identity,))[identity])


class Office:
    """The admin socket of a running hub: one JSON line in, one out. `on_change` is awaited after an
    enrolment."""

    def __init__(
        self,
        database: Database,
        presence: Presence,
        now_s: Callable[[], float],
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._presence = presence
        self._now_s = now_s
        self._on_change = on_change
        self._path = socket_path(database.path)
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. The database's lock is held, so a socket that is there was left by a hub that died."""
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, str(self._path), limit=MAX_LINE_BYTES, backlog=BACKLOG
            )
        except OSError as error:
            raise DatabaseError(f"{self._path}: {error}; choose a shorter path for hub.database_url") from error
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ORDER_LIMIT_S):
                line = await reader.readline()
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, ConnectionError):
            pass  # the command gives up too, or its line was over the limit: there is nobody to tell
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Result:
        try:
            order = msgspec.json.decode(line, type=Order)
        except msgspec.DecodeError as error:
            return Result(ok=False, message=f"not an order: {error}")
        try:
            result = await carry_out(order, self._database, self._presence, self._now_s())
            if result.ok and order.command not in READING:
                await self._on_change()
        except DatabaseError as error:
            return Result(ok=False, message=str(error))
        return result
