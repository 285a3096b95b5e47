"""Who administers the hub: people with a password, in their own table; they are no identities, so nobody calls them.

Nobody is there at first, and there is no default password: a one-time link of `intercomd hub set-up` makes the first
administrator, one of `add-admin` or `reset-admin` lets somebody choose a password. Of every secret only a hash is kept.
Each request looks its session up in the database: what is ended there has ended.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.hub.people.directory import TOKEN_BYTES, DirectoryError, check_name, digest
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import administrator_tokens as tokens
from intercomd.hub.storage.tables import administrators

HOUR_S: Final = 3600.0
LINK_LIFE_S: Final = 24 * HOUR_S
SESSION_LIFE_S: Final = 12 * HOUR_S
MAX_SESSIONS: Final = 10
"""Of one administrator: the oldest make room."""


class Purpose(StrEnum):
    """What an administrator's token is for."""

    SET_UP = "set-up"
    PASSWORD = "password"  # noqa: S105  (the word behind # in the link)
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Known:
    """`expires_at` of a link that was not followed yet."""

    name: str
    has_password: bool
    sessions: int
    created_at: float


async def is_set_up(database: Database) -> bool:
    """Whether there is anybody with a password."""
    async with database.transaction() as connection:
        return await _is_set_up(connection)


async def set_up(database: Database, now_s: float) -> str:
    """The code by which the first administrator chooses name and password; an earlier one ends. Raises
    `DirectoryError` when there is one already, and `DatabaseError`."""
    code = secrets.token_urlsafe(TOKEN_BYTES)
    async with database.transaction() as connection:
        if await _is_set_up(connection):
            raise DirectoryError(
                "the hub is set up already; `intercomd hub add-admin NAME` adds an administrator, "
                "`reset-admin NAME` lets one choose a new password"
            )
        await connection.execute(sa.delete(tokens).where(tokens.c.kind == Purpose.SET_UP.value))
        await connection.execute(insert(tokens), [_row(code, None, Purpose.SET_UP, now_s, LINK_LIFE_S)])
    return code


async def invite(database: Database, name: str, now_s: float, *, known: bool | None = None) -> str:
    """The code by which this administrator chooses a password; an earlier one ends, the present password stays until
    then. `known`: whether there must be one of that name (None: either way). Raises `DirectoryError` and
    `DatabaseError`."""
    check_name(name)
    code = secrets.token_urlsafe(TOKEN_BYTES)
    async with database.transaction() as connection:
        there = await _row_of(connection, name) is not None
        if known is True and not there:
            raise DirectoryError(f"{name!r} is no administrator; `intercomd hub add-admin NAME` makes one")
        if known is False and there:
            raise DirectoryError(f"{name!r} is an administrator already; `intercomd hub reset-admin NAME` helps one")
        if not there:
            row = {"name": name, "created_at": now_s}
            await connection.execute(insert(administrators).on_conflict_do_nothing(), [row])
        unused = (tokens.c.administrator == name) & (tokens.c.kind == Purpose.PASSWORD.value)
        await connection.execute(sa.delete(tokens).where(unused))
        await connection.execute(insert(tokens), [_row(code, name, Purpose.PASSWORD, now_s, LINK_LIFE_S)])
    return code


async def purpose(database: Database, code: str, now_s: float) -> Purpose | None:
    """What a link is good for; None for one that is unknown, used or too old."""
    link = (tokens.c.sha256 == digest(code)) & (tokens.c.kind != Purpose.SESSION.value) & (tokens.c.expires_at > now_s)
    async with database.transaction() as connection:
        kind = (await connection.execute(sa.select(tokens.c.kind).where(link))).scalar()
    return None if kind is None else Purpose(kind)


async def spend(database: Database, code: str, name: str, password_hash: str, now_s: float) -> tuple[str, str] | None:
    """Follow a link, once: the password is set, every session of that administrator ends, and one begins: whose it is
    and its token. `name` counts only for the first administrator. None for a link that is not good (any more). Raises
    `DirectoryError` and `DatabaseError`."""
    async with database.transaction() as connection:
        good = (tokens.c.sha256 == digest(code)) & (tokens.c.kind != Purpose.SESSION.value)
        taken = sa.delete(tokens).where(good & (tokens.c.expires_at > now_s))
        link = (await connection.execute(taken.returning(tokens.c.administrator, tokens.c.kind))).first()
        if link is None:
            return None
        if link.kind == Purpose.SET_UP.value:
            if await _is_set_up(connection):
                return None
            check_name(name)
        else:
            name = link.administrator
        row = {"name": name, "created_at": now_s}
        await connection.execute(insert(administrators).on_conflict_do_nothing(), [row])
        await _set_password(connection, name, password_hash)
        return name, await _begin(connection, name, now_s)


async def password_of(database: Database, name: str) -> str | None:
    """The hash of a password, None for an unknown name or one without."""
    async with database.transaction() as connection:
        row = await _row_of(connection, name)
    return None if row is None else row.password_hash


async def sign_in(database: Database, name: str, password_hash: str, now_s: float) -> str | None:
    """Begin a session for whom has proven to know the password behind `password_hash`: its token. None when that has
    been changed meanwhile."""
    async with database.transaction() as connection:
        row = await _row_of(connection, name)
        if row is None or row.password_hash != password_hash:
            return None
        return await _begin(connection, name, now_s)


async def change(database: Database, name: str, former_hash: str, password_hash: str, now_s: float) -> str | None:
    """A new password: every session and link ends, and a new session begins: its token. None when the former password
    was changed meanwhile."""
    async with database.transaction() as connection:
        row = await _row_of(connection, name)
        if row is None or row.password_hash != former_hash:
            return None
        await _set_password(connection, name, password_hash)
        return await _begin(connection, name, now_s)


async def who(database: Database, token: str, now_s: float) -> str | None:
    """Whose session this is, as long as it lasts."""
    session = (tokens.c.sha256 == digest(token)) & (tokens.c.kind == Purpose.SESSION.value)
    async with database.transaction() as connection:
        found = sa.select(tokens.c.administrator).where(session & (tokens.c.expires_at > now_s))
        name: str | None = (await connection.execute(found)).scalar()
    return name


async def sign_out(database: Database, token: str) -> None:
    """End one session. Idempotent."""
    async with database.transaction() as connection:
        await connection.execute(sa.delete(tokens).where(tokens.c.sha256 == digest(token)))


async def remove(database: Database, name: str) -> None:
    """Idempotent. Raises `DirectoryError` for the last one with a password: the hub would be without."""
    async with database.transaction() as connection:
        others = sa.select(sa.func.count()).select_from(administrators)
        others = others.where((administrators.c.name != name) & administrators.c.password_hash.is_not(None))
        if not (await connection.execute(others)).scalar():
            raise DirectoryError(f"{name!r} is the last administrator; add another one first")
        await connection.execute(sa.delete(tokens).where(tokens.c.administrator == name))
        await connection.execute(sa.delete(administrators).where(administrators.c.name == name))


async def known(database: Database, now_s: float) -> tuple[Known, ...]:
    """All of them, by name."""
    live = (tokens.c.kind == Purpose.SESSION.value) & (tokens.c.expires_at > now_s)
    async with database.transaction() as connection:
        people = (await connection.execute(sa.select(administrators).order_by(administrators.c.name))).all()
        signed_in = (await connection.execute(sa.select(tokens.c.administrator).where(live))).scalars().all()
    return tuple(
        Known(row.name, row.password_hash is not None, signed_in.count(row.name), row.created_at) for row in people
    )


async def _is_set_up(connection: AsyncConnection) -> bool:
    somebody = sa.select(administrators.c.name).where(administrators.c.password_hash.is_not(None)).limit(1)
    return (await connection.execute(somebody)).scalar() is not None


async def _row_of(connection: AsyncConnection, name: str) -> sa.Row[Any] | None:
    return (await connection.execute(sa.select(administrators).where(administrators.c.name == name))).first()


async def _set_password(connection: AsyncConnection, name: str, password_hash: str) -> None:
    owner = sa.update(administrators).where(administrators.c.name == name)
    await connection.execute(owner.values(password_hash=password_hash))
    await connection.execute(sa.delete(tokens).where(tokens.c.administrator == name))


async def _begin(connection: AsyncConnection, name: str, now_s: float) -> str:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    mine = (tokens.c.administrator == name) & (tokens.c.kind == Purpose.SESSION.value)
    newest = sa.select(tokens.c.sha256).where(mine).order_by(tokens.c.created_at.desc()).limit(MAX_SESSIONS - 1)
    surplus = mine & tokens.c.sha256.not_in(newest.scalar_subquery())
    await connection.execute(sa.delete(tokens).where(surplus))
    await connection.execute(sa.delete(tokens).where(tokens.c.expires_at < now_s))
    await connection.execute(insert(tokens), [_row(token, name, Purpose.SESSION, now_s, SESSION_LIFE_S)])
    return token


def _row(secret: str, name: str | None, kind: Purpose, now_s: float, life_s: float) -> dict[str, object]:
    return {
        "sha256": digest(secret),
        "administrator": name,
        "kind": kind.value,
        "created_at": now_s,
        "expires_at": now_s + life_s,
    }
