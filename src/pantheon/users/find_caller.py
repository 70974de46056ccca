"""Finds the user behind a proof. Only active users are found: disabling one works at the next request."""

from datetime import timedelta

from sqlalchemy import bindparam, select, update

from pantheon import clock, ids
from pantheon.db.engine import Database
from pantheon.db.tables import api_keys, sessions, users
from pantheon.settings import Settings
from pantheon.users.admit_subject import admit_subject
from pantheon.users.caller import Caller
from pantheon.users.rights import Role, Scope
from pantheon.users.tokens import TokenVerifier
from pantheon.users.user import effective_role

_USED_AT_STEP = timedelta(minutes=1)
# Built once, because that takes longer than to ask it.
_BY_API_KEY = (
    select(users.c.id, users.c.email, users.c.role, api_keys.c.id.label("api_key_id"))
    .add_columns(api_keys.c.scopes, api_keys.c.last_used_at)
    .join(api_keys, api_keys.c.user_id == users.c.id)
    .where(api_keys.c.key_hash == bindparam("key_hash"), api_keys.c.revoked_at.is_(None), users.c.state == "active")
)


async def by_session(database: Database, settings: Settings, token: str, *, ip: str | None) -> Caller | None:
    query = (
        select(users.c.id, users.c.email, users.c.role, sessions.c.id.label("session_id"))
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(
            sessions.c.token_hash == ids.token_hash(token),
            sessions.c.expires_at > clock.now(),
            users.c.state == "active",
        )
    )
    async with database.reading() as tx:
        found = (await tx.execute(query)).one_or_none()
    if found is None:
        return None
    role = effective_role(found.id, Role(found.role), settings)
    return Caller(found.id, found.email, role, "session", session_id=found.session_id, ip=ip)


async def by_api_key(database: Database, settings: Settings, key: str, *, ip: str | None) -> Caller | None:
    now = clock.now()
    async with database.reading() as tx:
        found = (await tx.execute(_BY_API_KEY, {"key_hash": ids.token_hash(key)})).one_or_none()
    if found is None:
        return None
    # To the minute is enough for people, and a busy key does not write at each request.
    if found.last_used_at is None or found.last_used_at < now - _USED_AT_STEP:
        async with database.transaction() as tx:
            await tx.execute(update(api_keys).where(api_keys.c.id == found.api_key_id).values(last_used_at=now))
    role = effective_role(found.id, Role(found.role), settings)
    return Caller(
        found.id,
        found.email,
        role,
        "api_key",
        scopes=frozenset(map(Scope, found.scopes)),
        api_key_id=found.api_key_id,
        ip=ip,
    )


async def by_token(
    database: Database, settings: Settings, verifier: TokenVerifier, token: str, *, ip: str | None
) -> Caller | None:
    """Raises NotSignedInError for a bad token, OutsideError when the issuer's keys cannot be had."""
    claims = await verifier.verify(token)
    user = await admit_subject(database, claims)
    if user.state != "active":
        return None
    return Caller(user.id, user.email, effective_role(user.id, user.role, settings), "token", ip=ip)
