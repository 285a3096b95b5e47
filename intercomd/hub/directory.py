"""Who may connect and who is behind a name: stations, residents and groups, with the SHA-256 of their tokens.

Read into memory at start and after every change: looking up a token or a group costs no query. Tokens are 256
bits of randomness, so a plain hash at rest is enough; they are shown once and never kept."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from intercomd.hub.database import Database, identities, members
from intercomd.ids import IdentityId

TOKEN_BYTES = 32
MAX_NAME_CHARS = 64


class Role(StrEnum):
    STATION = "station"
    RESIDENT = "resident"
    GROUP = "group"


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
class Directory:
    """A snapshot of the tables."""

    identities: Mapping[IdentityId, Identity] = field(default_factory=dict)
    groups: Mapping[IdentityId, tuple[IdentityId, ...]] = field(default_factory=dict)
    tokens: Mapping[bytes, Identity] = field(default_factory=dict)

    def by_token(self, token: str) -> Identity | None:
        """Whose token this is. The hash is looked up, so timing tells nothing about the token."""
        return self.tokens.get(digest(token))

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
    known = {IdentityId(row.id): Identity(IdentityId(row.id), Role(row.role), row.token_sha256) for row in people}
    groups: dict[IdentityId, tuple[IdentityId, ...]] = {}
    for pair in pairs:
        groups[IdentityId(pair.group_id)] = (*groups.get(IdentityId(pair.group_id), ()), IdentityId(pair.member_id))
    tokens = {identity.token_sha256: identity for identity in known.values() if identity.token_sha256}
    return Directory(known, groups, tokens)


async def enrol(database: Database, name: str, role: Role, group: str | None, now_s: float) -> str:
    """Make an identity, or give an existing one of the same role a new token: the old one ends. Returns the
    token. Raises `DirectoryError` and `DatabaseError`."""
    _check_name(name)
    if group is not None:
        _check_name(group)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    directory = await read(database)
    _check_free(directory, name, role)
    if group is not None:
        _check_free(directory, group, Role.GROUP)
    row = {"id": name, "role": role.value, "token_sha256": digest(token), "created_at": now_s}
    async with database.transaction() as connection:
        upsert = insert(identities)
        upsert = upsert.on_conflict_do_update(
            index_elements=[identities.c.id], set_={"token_sha256": upsert.excluded.token_sha256}
        )
        await connection.execute(upsert, [row])
        if group is not None:
            grouped = {"id": group, "role": Role.GROUP.value, "token_sha256": None, "created_at": now_s}
            await connection.execute(insert(identities).on_conflict_do_nothing(), [grouped])
            membership = {"group_id": group, "member_id": name}
            await connection.execute(insert(members).on_conflict_do_nothing(), [membership])
    return token


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
        raise DirectoryError(
            f"{name!r} cannot be a name: 1 to {MAX_NAME_CHARS} printable characters, no space at either end"
        )


def _check_free(directory: Directory, name: str, role: Role) -> None:
    taken = directory.identities.get(IdentityId(name))
    if taken is not None and taken.role is not role:
        raise DirectoryError(f"{name!r} is a {taken.role.value} already; choose another name")
