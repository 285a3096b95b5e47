"""Which browsers can be woken: one subscription for each session, as long as that lasts; and the hub's key for them.

All raise `DatabaseError`."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy.dialects.postgresql import insert

from intercomd.hub.push.webpush import CURVE, Keys
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import identities, push_keys, push_subscriptions, tokens
from intercomd.ids import IdentityId


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where and for whom; `session` is the SHA-256 of the session's token."""

    session: bytes
    identity: IdentityId
    endpoint: str
    keys: Keys


async def own_key(database: Database) -> ec.EllipticCurvePrivateKey:
    """The hub's key for push services, made at first. It is kept in the database: browsers are subscribed to exactly
    this one, and several processes must have the same."""
    made = ec.generate_private_key(CURVE).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    async with database.transaction() as connection:
        await connection.execute(insert(push_keys).on_conflict_do_nothing(), [{"id": 1, "private_der": made}])
        kept: bytes = (await connection.execute(sa.select(push_keys.c.private_der))).scalar_one()
    key = load_der_private_key(kept, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "made above"
    return key


async def put(database: Database, it: Subscription, now_s: float) -> None:
    """This session's subscription instead of any former one. Those whose session has ended go with it."""
    row = {
        "session_sha256": it.session,
        "identity": it.identity,
        "endpoint": it.endpoint,
        "p256dh": it.keys.p256dh,
        "auth": it.keys.auth,
        "created_at": now_s,
    }
    of_nobody = push_subscriptions.c.session_sha256.not_in(sa.select(tokens.c.sha256))
    same_browser = push_subscriptions.c.endpoint == it.endpoint
    mine = push_subscriptions.c.session_sha256 == it.session
    async with database.transaction() as connection:
        await connection.execute(sa.delete(push_subscriptions).where(of_nobody | same_browser | mine))
        await connection.execute(insert(push_subscriptions), [row])


async def drop(database: Database, session: bytes, endpoint: str | None = None) -> None:
    """Idempotent. `endpoint`: only if it is still that one."""
    it = push_subscriptions.c.session_sha256 == session
    if endpoint is not None:
        it &= push_subscriptions.c.endpoint == endpoint
    async with database.transaction() as connection:
        await connection.execute(sa.delete(push_subscriptions).where(it))


async def of(database: Database, names: Iterable[IdentityId], now_s: float) -> tuple[Subscription, ...]:
    """The live ones of these residents."""
    joined = sa.join(push_subscriptions, tokens, push_subscriptions.c.session_sha256 == tokens.c.sha256).join(
        identities, identities.c.id == tokens.c.identity
    )
    good = tokens.c.identity.in_(list(names)) & (tokens.c.expires_at > now_s) & identities.c.banned_at.is_(None)
    query = sa.select(push_subscriptions, tokens.c.identity.label("owner")).select_from(joined).where(good)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
    return tuple(
        Subscription(row.session_sha256, IdentityId(row.owner), row.endpoint, Keys(row.p256dh, row.auth))
        for row in rows
    )
