"""How a resident's browser gets in, and out: an invitation's code is exchanged, once, for a session.

Both are 256 bits of randomness of which only the SHA-256 is kept. A resident may have several sessions, one for each
browser; a new invitation ends the one that was not used, not the sessions. Revoking a name ends everything it has.
"""

import secrets

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from intercomd.hub.people import directory
from intercomd.hub.people.directory import TOKEN_BYTES, DirectoryError, Kind, Role, digest
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import identities, pairings, tokens
from intercomd.ids import IdentityId

DAY_S = 86_400.0
INVITATION_LIFE_S = 7 * DAY_S
SESSION_LIFE_S = 180 * DAY_S
"""From the last time that the page was opened, to the day."""
RENEW_AFTER_S = DAY_S
MAX_SESSIONS = 20
"""Of one resident: the oldest make room."""
MAX_CODE_CHARS = 200


async def invite(database: Database, name: str, group: str | None, now_s: float) -> str:
    """Make a resident where there is none, and an invitation. Returns its code. Raises `DirectoryError` and
    `DatabaseError`."""
    await directory.check(database, name, Role.RESIDENT, group)
    code = secrets.token_urlsafe(TOKEN_BYTES)
    async with database.transaction() as connection:
        await directory.enter(connection, name, Role.RESIDENT, group, now_s)
        unused = (tokens.c.identity == name) & (tokens.c.kind == Kind.INVITATION.value)
        await connection.execute(sa.delete(tokens).where(unused))
        await connection.execute(insert(tokens), [_row(code, name, Kind.INVITATION, now_s, INVITATION_LIFE_S)])
    return code


async def redeem(database: Database, code: str, now_s: float, replaced: str = "") -> tuple[IdentityId, str] | None:
    """Exchange an invitation's code for a session: whose it is, and its token. `replaced` is the session that this
    browser had before. None for a code that is unknown, used or too old: there is no difference to be told."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    async with database.transaction() as connection:
        good = (tokens.c.sha256 == digest(code)) & (tokens.c.kind == Kind.INVITATION.value)
        taken = sa.delete(tokens).where(good & (tokens.c.expires_at > now_s)).returning(tokens.c.identity)
        name = (await connection.execute(taken)).scalar()
        if name is None:
            return None
        mine = (tokens.c.identity == name) & (tokens.c.kind == Kind.SESSION.value)
        newest = sa.select(tokens.c.sha256).where(mine).order_by(tokens.c.created_at.desc()).limit(MAX_SESSIONS - 1)
        surplus = mine & tokens.c.sha256.not_in(newest.scalar_subquery())
        await connection.execute(sa.delete(tokens).where(surplus | (tokens.c.sha256 == digest(replaced))))
        await connection.execute(insert(tokens), [_row(token, name, Kind.SESSION, now_s, SESSION_LIFE_S)])
    return IdentityId(name), token


async def renew(database: Database, token: str, now_s: float) -> None:
    """The page was opened: its session lasts from now."""
    session = (tokens.c.sha256 == digest(token)) & (tokens.c.kind == Kind.SESSION.value)
    async with database.transaction() as connection:
        await connection.execute(sa.update(tokens).where(session).values(expires_at=now_s + SESSION_LIFE_S))


def is_due(expires_at: float, now_s: float) -> bool:
    """Whether a session is worth a write."""
    return expires_at - now_s < SESSION_LIFE_S - RENEW_AFTER_S


async def sign_out(database: Database, token: str) -> None:
    """End one session. Idempotent."""
    session = (tokens.c.sha256 == digest(token)) & (tokens.c.kind == Kind.SESSION.value)
    async with database.transaction() as connection:
        await connection.execute(sa.delete(tokens).where(session))


async def revoke(database: Database, name: str) -> None:
    """End everything by which a station or a resident gets in. Raises `DirectoryError` for an unknown name."""
    known = await directory.read(database)
    identity = known.identities.get(IdentityId(name))
    if identity is None or identity.role is Role.GROUP:
        raise DirectoryError(f"{name!r} is no station and no resident; `intercomd hub list` shows who is known")
    async with database.transaction() as connection:
        await connection.execute(sa.delete(tokens).where(tokens.c.identity == name))
        await connection.execute(sa.delete(pairings).where(pairings.c.station == name))
        await connection.execute(sa.update(identities).where(identities.c.id == name).values(token_sha256=None))


def _row(secret: str, name: str, kind: Kind, now_s: float, life_s: float) -> dict[str, object]:
    return {
        "sha256": digest(secret),
        "identity": name,
        "kind": kind.value,
        "created_at": now_s,
        "expires_at": now_s + life_s,
    }
