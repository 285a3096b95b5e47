"""What an administrator changes about the house: who is there, who rings in which order, who may do what, and when
nobody is to be disturbed. Each function is one transaction; `Directory` is read anew afterwards.

All raise `DirectoryError`, with what is wrong and what is allowed, and `DatabaseError`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.hub.people import directory
from intercomd.hub.people.directory import (
    Directory,
    DirectoryError,
    Identity,
    Kind,
    Policy,
    RingMode,
    Role,
    check_name,
)
from intercomd.hub.people.rights import EVERYBODY, Action, Right
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import identities, members, pairings, push_subscriptions, rights, tokens
from intercomd.ids import IdentityId

OVERLAP_S: Final = 24 * 3600.0
"""For so long a station's former token works beside its new one."""
MAX_RIGHTS: Final = 10_000


class Unknown(DirectoryError):
    """There is nobody of that name."""


class Conflict(DirectoryError):
    """It is there already."""


async def add(
    database: Database, name: str, role: Role, now_s: float, *, shown: str | None = None, group: str | None = None
) -> None:
    """Make an identity, without a token, an invitation or members."""
    check_name(name)
    known = await directory.read(database)
    if IdentityId(name) in known.identities:
        raise Conflict(f"{name!r} is there already, as a {known.identities[IdentityId(name)].role.value}")
    await directory.check(database, name, role, group)
    if group is not None and role is Role.GROUP:
        raise DirectoryError("a group cannot be a member of a group")
    _check_shown(known, name, shown)
    async with database.transaction() as connection:
        await directory.enter(connection, name, role, group, now_s)
        await connection.execute(_of(name).values(shown_name=shown))


async def rotate(database: Database, name: str, now_s: float, *, at_once: bool = False) -> tuple[str, float | None]:
    """A station's new token, and until when its former one works (None: it does not)."""
    identity = _one(await directory.read(database), name, Role.STATION)
    former = identity.token_sha256
    async with database.transaction() as connection:
        token = await directory.renew_token(connection, name)
        if at_once or former is None:
            return token, None
        row = {
            "sha256": former,
            "identity": name,
            "kind": Kind.RETIRING.value,
            "created_at": now_s,
            "expires_at": now_s + OVERLAP_S,
        }
        await connection.execute(insert(tokens), [row])
    return token, now_s + OVERLAP_S


async def end_overlaps(database: Database, now_s: float) -> tuple[int, float | None]:
    """End the former tokens whose time is over: how many that were, and when the next one's is."""
    retiring = tokens.c.kind == Kind.RETIRING.value
    over = sa.delete(tokens).where(retiring & (tokens.c.expires_at <= now_s))
    async with database.transaction() as connection:
        ended = (await connection.execute(over)).rowcount
        soonest = sa.select(sa.func.min(tokens.c.expires_at)).where(retiring)
        next_s: float | None = (await connection.execute(soonest)).scalar()
    return ended, next_s


async def rename(database: Database, name: str, shown: str | None) -> None:
    """What people are shown; None: the id."""
    known = await directory.read(database)
    _one(known, name)
    _check_shown(known, name, shown)
    async with database.transaction() as connection:
        await connection.execute(_of(name).values(shown_name=shown))


async def ban(database: Database, name: str, now_s: float | None) -> None:
    """Keep it out, whatever it shows, until `now_s` is None."""
    _one(await directory.read(database), name, Role.STATION, Role.RESIDENT)
    async with database.transaction() as connection:
        await connection.execute(_of(name).values(banned_at=now_s))


async def remove(database: Database, name: str) -> None:
    """Forget it, with its tokens, memberships and rights. Records of its calls stay."""
    _one(await directory.read(database), name)
    async with database.transaction() as connection:
        for table, mine in (
            (tokens, tokens.c.identity == name),
            (pairings, pairings.c.station == name),
            (push_subscriptions, push_subscriptions.c.identity == name),
            (members, (members.c.group_id == name) | (members.c.member_id == name)),
            (rights, (rights.c.subject == name) | (rights.c.object == name)),
            (identities, identities.c.id == name),
        ):
            await connection.execute(sa.delete(table).where(mine))
        nowhere = sa.update(identities).where(identities.c.escalate_to == name)
        await connection.execute(nowhere.values(escalate_to=None))


async def set_policy(database: Database, name: str, policy: Policy) -> None:
    """The whole policy; a group's own counts for calls to the group."""
    _one(await directory.read(database), name)
    if (policy.quiet_from_min is None) != (policy.quiet_to_min is None):
        raise DirectoryError("quiet hours need both ends, or none")
    async with database.transaction() as connection:
        await connection.execute(
            _of(name).values(
                do_not_disturb_until=policy.do_not_disturb_until,
                quiet_from_min=policy.quiet_from_min,
                quiet_to_min=policy.quiet_to_min,
                busy_policy=policy.busy.value,
            )
        )


async def set_group(
    database: Database,
    name: str,
    who: Sequence[str],
    now_s: float,
    *,
    mode: RingMode = RingMode.ALL,
    each_s: float = 30.0,
    escalate_to: str | None = None,
) -> None:
    """The whole group: its members in this order, and how they ring. It is made where it is missing."""
    known = await directory.read(database)
    await directory.check(database, name, Role.GROUP, None)
    _check_members(known, who)
    _check_escalation(known, name, escalate_to)
    async with database.transaction() as connection:
        await directory.enter(connection, name, Role.GROUP, None, now_s)
        ringing = {"ring_mode": mode.value, "ring_each_s": each_s, "escalate_to": escalate_to}
        await connection.execute(_of(name).values(ringing))
        await connection.execute(sa.delete(members).where(members.c.group_id == name))
        rows = [{"group_id": name, "member_id": member, "position": place} for place, member in enumerate(who)]
        if rows:
            await connection.execute(insert(members), rows)


async def set_right(database: Database, right: Right) -> None:
    """One rule; another one about the same three ends."""
    known = await directory.read(database)
    _check_subject(known, right.subject)
    _check_object(known, right.object, right.action)
    same = (right.subject, right.action, right.object)
    kept = [rule for rule in known.rights.rules if (rule.subject, rule.action, rule.object) != same]
    if len(kept) >= MAX_RIGHTS:
        raise DirectoryError(f"there are {MAX_RIGHTS} rules already; groups make do with fewer")
    async with database.transaction() as connection:
        await clear(connection, right.subject, right.action, right.object)
        row = {"subject": right.subject, "action": right.action.value, "object": right.object, "allowed": right.allowed}
        await connection.execute(insert(rights), [row])


async def clear_right(database: Database, subject: str, action: Action, object_: str) -> None:
    """Forget a rule. Idempotent."""
    async with database.transaction() as connection:
        await clear(connection, subject, action, object_)


async def clear(connection: AsyncConnection, subject: str, action: Action, object_: str) -> None:
    about = (rights.c.subject == subject) & (rights.c.action == action.value) & (rights.c.object == object_)
    await connection.execute(sa.delete(rights).where(about))


async def write_proven(database: Database, at: Mapping[IdentityId, float]) -> None:
    """When these last answered."""
    whose = sa.update(identities).where(identities.c.id == sa.bindparam("who"))
    async with database.transaction() as connection:
        rows = [{"who": name, "at": at_s} for name, at_s in at.items()]
        await connection.execute(whose.values(last_proven_at=sa.bindparam("at")), rows)


async def rows(database: Database) -> tuple[Sequence[Any], Sequence[Any]]:
    """The identities and the tokens, for who administers them."""
    async with database.transaction() as connection:
        people = (await connection.execute(sa.select(identities).order_by(identities.c.id))).all()
        theirs = (await connection.execute(sa.select(tokens.c.identity, tokens.c.kind, tokens.c.expires_at))).all()
    return people, theirs


def _of(name: str) -> sa.Update:
    return sa.update(identities).where(identities.c.id == name)


def _one(known: Directory, name: str, *roles: Role) -> Identity:
    """The identity, if it has one of these roles."""
    identity = known.identities.get(IdentityId(name))
    if identity is None:
        raise Unknown(f"{name!r} is not known; `intercomd hub list` shows who is")
    if roles and identity.role not in roles:
        wanted = " or ".join(role.value for role in roles)
        raise DirectoryError(f"{name!r} is a {identity.role.value}, not a {wanted}")
    return identity


def _check_shown(known: Directory, name: str, shown: str | None) -> None:
    """Nobody is shown by a name that somebody else has."""
    if shown is None:
        return
    check_name(shown)
    for other in known.identities.values():
        if other.id != name and shown in (other.id, other.name):
            raise Conflict(f"{shown!r} is {other.id!r} already; choose another name")


def _check_members(known: Directory, who: Sequence[str]) -> None:
    for member in who:
        _one(known, member, Role.STATION, Role.RESIDENT)
    if len(set(who)) != len(who):
        raise DirectoryError("a member is named twice")


def _check_escalation(known: Directory, name: str, to: str | None) -> None:
    """The chain has an end."""
    seen = {name}
    while to is not None:
        if to in seen:
            raise DirectoryError(f"{to!r} would escalate to itself in the end")
        seen.add(to)
        _one(known, to)
        group = known.group(IdentityId(to))
        to = group.escalate_to if group is not None else None


def _check_subject(known: Directory, name: str) -> None:
    if name != EVERYBODY:
        _one(known, name)


def _check_object(known: Directory, name: str, action: Action) -> None:
    if name == EVERYBODY:
        return
    identity = _one(known, name)
    if action is not Action.CALL and identity.role is Role.RESIDENT:
        raise DirectoryError(f"{name!r} is a resident and has no door; name a station, or a group of stations")
