"""Who may connect and who is behind a name: stations with their tokens, residents with the sessions of their browsers
(`hub/people/sessions.py`), groups and how they ring, who may call whom, and when somebody is not to be disturbed. Of
every secret only the SHA-256.

Read into memory at start and after every change: looking up a token or a group costs no query. Tokens are 256
bits of randomness, so a plain hash at rest is enough; they are shown once and never kept."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.hub.people.rights import EVERYBODY, Action, Right, Rights, memberships
from intercomd.hub.storage.database import Database, identities, members, rights, tokens
from intercomd.hub.storage.tables import push_subscriptions
from intercomd.ids import IdentityId

TOKEN_BYTES = 32
MAX_NAME_CHARS = 64


class Role(StrEnum):
    STATION = "station"
    RESIDENT = "resident"
    GROUP = "group"


class Kind(StrEnum):
    """What a token is for."""

    INVITATION = "invitation"
    SESSION = "session"
    RETIRING = "retiring"
    """A station's former token, good until it expires."""


class Busy(StrEnum):
    """What a caller meets who calls somebody in another call."""

    REFUSE = "refuse"
    QUEUE = "queue"


class RingMode(StrEnum):
    ALL = "all"
    SEQUENCE = "sequence"


class DirectoryError(ValueError):
    """A name that cannot be used; the text says why and what is allowed."""


@dataclass(frozen=True, slots=True)
class Identity:
    id: IdentityId
    role: Role
    token_sha256: bytes | None = None
    shown_name: str | None = None
    banned: bool = False

    @property
    def name(self) -> str:
        """What others are shown."""
        return self.shown_name or self.id


@dataclass(frozen=True, slots=True)
class Policy:
    """When an identity is not to be rung. Minutes of the day in the estate's time zone; `quiet_from_min` may be the
    later one: the hours then lie over midnight. Both or none are set."""

    do_not_disturb_until: float | None = None
    quiet_from_min: int | None = None
    quiet_to_min: int | None = None
    busy: Busy = Busy.REFUSE

    def is_quiet(self, now_s: float, minute: int) -> bool:
        """Whether nobody should ring now; `minute` of the day."""
        if self.do_not_disturb_until is not None and now_s < self.do_not_disturb_until:
            return True
        if self.quiet_from_min is None or self.quiet_to_min is None:
            return False
        if self.quiet_from_min <= self.quiet_to_min:
            return self.quiet_from_min <= minute < self.quiet_to_min
        return minute >= self.quiet_from_min or minute < self.quiet_to_min


@dataclass(frozen=True, slots=True)
class Group:
    """Who is rung, in this order; `each_s` in sequence; whom when none of them has answered."""

    members: tuple[IdentityId, ...]
    mode: RingMode = RingMode.ALL
    each_s: float = 30.0
    escalate_to: IdentityId | None = None


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
    policies: Mapping[IdentityId, Policy] = field(default_factory=dict)
    ringing: Mapping[IdentityId, Group] = field(default_factory=dict)
    rights: Rights = field(default_factory=Rights)
    memberships: Mapping[IdentityId, frozenset[IdentityId]] = field(default_factory=dict)
    subscribed: Mapping[IdentityId, tuple[bytes, ...]] = field(default_factory=dict)
    """The sessions (SHA-256) whose browser takes push messages."""

    def by_token(self, token: str) -> Identity | None:
        """Whose token this is; nobody's, if that one is banned. The hash is looked up, so timing tells nothing about
        the token."""
        identity = self.tokens.get(digest(token))
        return None if identity is None or identity.banned else identity

    def by_session(self, token: str, now_s: float) -> Identity | None:
        """Whose session this is, as long as it lasts; nobody's, if that one is banned."""
        session = self.sessions.get(digest(token))
        if session is None or now_s >= session.expires_at or session.identity.banned:
            return None
        return session.identity

    def knows(self, sha256: bytes) -> bool:
        """Whether what a client has shown still lets it in: revocation takes it away, and so does a ban."""
        identity = self._holder(sha256)
        return identity is not None and not identity.banned

    def can_push(self, identity: IdentityId, now_s: float) -> bool:
        """Whether a browser of theirs can be woken, though no page is open."""
        sessions = (self.sessions.get(sha256) for sha256 in self.subscribed.get(identity, ()))
        return any(session and now_s < session.expires_at and not session.identity.banned for session in sessions)

    def is_banned(self, token: str, session: str) -> bool:
        """Whether this token, or this session, would let in somebody who is banned."""
        identity = self._holder(digest(token)) or self._holder(digest(session))
        return identity is not None and identity.banned

    def _holder(self, sha256: bytes) -> Identity | None:
        session = self.sessions.get(sha256)
        return self.tokens.get(sha256) or (session.identity if session is not None else None)

    def may_call(self, caller: IdentityId) -> tuple[Identity, ...]:
        """Whom a resident is offered: stations, and groups in which there is somebody else."""
        return tuple(
            identity
            for identity in self.identities.values()
            if identity.role is not Role.RESIDENT
            and any(member != caller for member in self.resolve(identity.id))
            and self.may_call_whom(caller, identity.id)
        )

    def may_call_whom(self, caller: IdentityId, recipient: IdentityId) -> bool:
        """Whether the rights let `caller` call this station, resident or group; unknown names never."""
        known = caller in self.identities and recipient in self.identities
        return known and self.rights.permits(Action.CALL, caller, recipient, self.memberships)

    def may_open(self, who: IdentityId, station: IdentityId) -> bool:
        """Whether `who` may open the door of this station, also without a call."""
        known = who in self.identities and station in self.identities
        return known and self.rights.permits(Action.DOOR, who, station, self.memberships)

    def may_open_in_call(self, who: IdentityId, station: IdentityId) -> bool:
        """Whether `who` may open it while both are in one answered call. Forbidding the door forbids this, too."""
        if who not in self.identities or station not in self.identities:
            return False
        always = self.rights.decided(Action.DOOR, who, station, self.memberships)
        if always is not None:
            return always
        return self.rights.permits(Action.DOOR_IN_CALL, who, station, self.memberships)

    def policy(self, identity: IdentityId) -> Policy:
        """The defaults for an unknown name."""
        return self.policies.get(identity, Policy())

    def group(self, identity: IdentityId) -> Group | None:
        """How a group rings; None for what is no group."""
        return self.ringing.get(identity)

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
        order = (members.c.position.is_(None), members.c.position, members.c.member_id)
        pairs = (await connection.execute(sa.select(members).order_by(*order))).all()
        secrets_ = (await connection.execute(sa.select(tokens))).all()
        rules = (await connection.execute(sa.select(rights))).all()
        woken = (await connection.execute(sa.select(push_subscriptions))).all()
    known = {IdentityId(row.id): _identity(row) for row in people}
    groups = _groups(pairs)
    by_token = {identity.token_sha256: identity for identity in known.values() if identity.token_sha256}
    by_token |= {row.sha256: known[IdentityId(row.identity)] for row in secrets_ if row.kind == Kind.RETIRING.value}
    return Directory(
        known,
        groups,
        by_token,
        sessions={
            row.sha256: Session(known[IdentityId(row.identity)], row.expires_at)
            for row in secrets_
            if row.kind == Kind.SESSION.value
        },
        policies={IdentityId(row.id): _policy(row) for row in people},
        ringing={
            IdentityId(row.id): _group(row, groups.get(IdentityId(row.id), ()))
            for row in people
            if row.role == Role.GROUP.value
        },
        rights=Rights(
            tuple(
                Right(IdentityId(row.subject), Action(row.action), IdentityId(row.object), row.allowed) for row in rules
            )
        ),
        memberships=memberships(groups),
        subscribed=_subscribed(woken),
    )


def _identity(row: sa.Row[Any]) -> Identity:
    return Identity(
        IdentityId(row.id), Role(row.role), row.token_sha256, row.shown_name, banned=row.banned_at is not None
    )


def _groups(pairs: Iterable[sa.Row[Any]]) -> dict[IdentityId, tuple[IdentityId, ...]]:
    groups: dict[IdentityId, tuple[IdentityId, ...]] = {}
    for pair in pairs:
        groups[IdentityId(pair.group_id)] = (*groups.get(IdentityId(pair.group_id), ()), IdentityId(pair.member_id))
    return groups


def _subscribed(rows: Iterable[sa.Row[Any]]) -> dict[IdentityId, tuple[bytes, ...]]:
    found: dict[IdentityId, tuple[bytes, ...]] = {}
    for row in rows:
        found[IdentityId(row.identity)] = (*found.get(IdentityId(row.identity), ()), row.session_sha256)
    return found


def _policy(row: sa.Row[Any]) -> Policy:
    busy = Busy(row.busy_policy) if row.busy_policy else Busy.REFUSE
    return Policy(row.do_not_disturb_until, row.quiet_from_min, row.quiet_to_min, busy)


def _group(row: sa.Row[Any], of: tuple[IdentityId, ...]) -> Group:
    return Group(
        of,
        RingMode(row.ring_mode) if row.ring_mode else RingMode.ALL,
        30.0 if row.ring_each_s is None else row.ring_each_s,
        IdentityId(row.escalate_to) if row.escalate_to else None,
    )


async def enrol(database: Database, name: str, role: Role, group: str | None, now_s: float) -> str:
    """Make an identity, or give an existing one of the same role a new token: every former one ends. Returns the
    token. Raises `DirectoryError` and `DatabaseError`."""
    await check(database, name, role, group)
    async with database.transaction() as connection:
        await enter(connection, name, role, group, now_s)
        return await renew_token(connection, name)


async def renew_token(connection: AsyncConnection, name: str) -> str:
    """A station's new token; every former one ends."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    retiring = (tokens.c.identity == name) & (tokens.c.kind == Kind.RETIRING.value)
    await connection.execute(sa.delete(tokens).where(retiring))
    owner = sa.update(identities).where(identities.c.id == name)
    await connection.execute(owner.values(token_sha256=digest(token)))
    return token


async def check(database: Database, name: str, role: Role, group: str | None) -> None:
    """Raises `DirectoryError` for a name that cannot be used, or that somebody of another role has."""
    check_name(name)
    if group is not None:
        check_name(group)
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


def check_name(name: str) -> None:
    """Raises `DirectoryError`."""
    fits = 0 < len(name) <= MAX_NAME_CHARS and name.isprintable() and name == name.strip()
    if not fits or name == EVERYBODY:
        raise DirectoryError(
            f"{name!r} cannot be a name: 1 to {MAX_NAME_CHARS} printable characters, no space at either end, and not "
            f"{EVERYBODY}, which stands for everybody"
        )


def _check_free(directory: Directory, name: str, role: Role) -> None:
    taken = directory.identities.get(IdentityId(name))
    if taken is not None and taken.role is not role:
        raise DirectoryError(f"{name!r} is a {taken.role.value} already; choose another name")
