"""Who may connect and who is behind a name: stations with their tokens, residents with the sessions of their browsers
(`hub/sessions.py`), and groups. Of every secret only the SHA-256.

Read into memory at start and after every change: looking up a token or a group costs no query. Tokens are 256
bits of randomness, so a plain hash at rest is enough; they are shown once and never kept."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.hub.database import Database, identities, members, tokens
from intercomd.ids import IdentityId

TOKEN_BYTES = 32
MAX_NAME_CHARS = 64


class Role(StrEnum):
    STATION = "station"
    RESIDENT = "resident"
    GROUP = "group"


class Kind(StrEnum):
    """What a token of a resident is for."""

    INVITATION = "invitation"
    SESSION = "session"


class DirectoryError(ValueError):
    """A name that cannot be used; the text says why and what is allowed."""


@dataclass(frozen=True, slots=True)
class Identity:
    id: IdentityId
    role: Role
    token_sha256: bytes | None = None

    @property
    def name(self) -> str:
        """What others are shown."""
        return self.id


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody has signed in."""

    identity: Identity
    expires_at: float


@dataclass(frozen=True, slots=True)
class Directory:
    """A snapshot of the tables."""

    identities: Mapping[IdentityId, Identity] = field(default_factory=dict)
    groups: Mapping[IdentityId, tuple[IdentityId, ...]] = field(default_factory=dict)
    tokens: Mapping[bytes, Identity] = field(default_factory=dict)
    sessions: Mapping[bytes, Session] = field(default_factory=dict)

    def by_token(self, token: str) -> Identity | None:
        """Whose token this is. The hash is looked up, so timing tells nothing about the token."""
        return self.tokens.get(digest(token))

    def by_session(self, token: str, now_s: float) -> Identity | None:
        """Whose session this is, as long as it lasts."""
        session = self.sessions.get(digest(token))
        return session.identity if session is not None and now_s < session.expires_at else None

    def knows(self, sha256: bytes) -> bool:
        """Whether what a client has shown is still good: revocation takes it away."""
        return sha256 in self.tokens or sha256 in self.sessions

    def may_call(self, caller: IdentityId) -> tuple[Identity, ...]:
        """Whom a resident is offered: stations, and groups in which there is somebody else."""
        return tuple(
            identity
            for identity in self.identities.values()
            if identity.role is not Role.RESIDENT and any(member != caller for member in self.resolve(identity.id))
        )

    def resolve(self, recipient: IdentityId) -> tuple[IdentityId, ...]:
        """The identities behind a name: a group's members, anybody else alone, nobody for an unknown name."""
        identity = self.identities.get(recipient)
        if identity is None:
            return ()
        return self.groups.get(recipient, ()) if identity.role is Role.GROUP else (recipient,)


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def read(database: Database) -> Directory:
    """Raises `DatabaseError`."""
    async with database.transaction() as connection:
        people = (await connection.execute(sa.select(identities).order_by(identities.c.id))).all()
        pairs = (await connection.execute(sa.select(members).order_by(members.c.member_id))).all()
        signed_in = (await connection.execute(sa.select(tokens).where(tokens.c.kind == Kind.SESSION.value))).all()
    known = {IdentityId(row.id): Identity(IdentityId(row.id), Role(row.role), row.token_sha256) for row in people}
    groups: dict[IdentityId, tuple[IdentityId, ...]] = {}
    for pair in pairs:
        groups[IdentityId(pair.group_id)] = (*groups.get(IdentityId(pair.group_id), ()), IdentityId(pair.member_id))
    by_token = {identity.token_sha256: identity for identity in known.values() if identity.token_sha256}
    sessions = {row.sha256: Session(known[IdentityId(row.identity)], row.expires_at) for row in signed_in}
    return Directory(known, groups, by_token, sessions)


async def enrol(database: Database, name: str, role: Role, group: str | None, now_s: float) -> str:
    """Make an identity, or give an existing one of the same role a new token: the old one ends. Returns the
    token. Raises `DirectoryError` and `DatabaseError`."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await check(database, name, role, group)
    async with database.transaction() as connection:
        await enter(connection, name, role, group, now_s)
        owner = sa.update(identities).where(identities.c.id == name)
        await connection.execute(owner.values(token_sha256=digest(token)))
    return token


async def check(database: Database, name: str, role: Role, group: str | None) -> None:
    """Raises `DirectoryError` for a name that cannot be used, or that somebody of another role has."""
    _check_name(name)
    if group is not None:
        _check_name(group)
    directory = await read(database)
    _check_free(directory, name, role)
    if group is not None:
        _check_free(directory, group, Role.GROUP)


async def enter(connection: AsyncConnection, name: str, role: Role, group: str | None, now_s: float) -> None:
    """Make an identity and its membership, as far as they are not there."""
    row = {"id": name, "role": role.value, "created_at": now_s}
    await connection.execute(insert(identities).on_conflict_do_nothing(), [row])
    if group is not None:
        grouped = {"id": group, "role": Role.GROUP.value, "created_at": now_s}
        await connection.execute(insert(identities).on_conflict_do_nothing(), [grouped])
        await connection.execute(insert(members).on_conflict_do_nothing(), [{"group_id": group, "member_id": name}])


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
        raise DirectoryError(
            f"{name!r} cannot be a name: 1 to {MAX_NAME_CHARS} printable characters, no space at either end"
        )


def _check_free(directory: Directory, name: str, role: Role) -> None:
    taken = directory.identities.get(IdentityId(name))
    if taken is not None and taken.role is not role:
        raise DirectoryError(f"{name!r} is a {taken.role.value} already; choose another name")
