"""Sessions: an opaque token for 14 days, whose hash is all that is stored. All of this joins the caller's `tx`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, insert

from pantheon import clock, ids
from pantheon.db.engine import Tx
from pantheon.db.tables import sessions

PREFIX = "ps_"
"""Tells a session's token from an API key and from a token of an outside issuer."""

LIFETIME = timedelta(days=14)


@dataclass(frozen=True)
class Device:
    """Where a session is opened from, as the user may be shown it."""

    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True)
class NewSession:
    id: UUID
    user_id: UUID
    token: str
    expires_at: datetime


async def open_session(tx: Tx, user_id: UUID, device: Device) -> NewSession:
    """Always a new token: one that was known before the sign-in is worth nothing afterwards."""
    now = clock.now()
    session = NewSession(ids.uuid7(), user_id, PREFIX + ids.token(), now + LIFETIME)
    await tx.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.expires_at <= now))
    await tx.execute(
        insert(sessions).values(
            id=session.id,
            user_id=user_id,
            token_hash=ids.token_hash(session.token),
            ip=device.ip,
            user_agent=_shown(device.user_agent),
            created_at=now,
            expires_at=session.expires_at,
        )
    )
    return session


async def end_sessions(tx: Tx, user_id: UUID, *, except_id: UUID | None = None) -> None:
    statement = delete(sessions).where(sessions.c.user_id == user_id)
    if except_id is not None:
        statement = statement.where(sessions.c.id != except_id)
    await tx.execute(statement)


def _shown(user_agent: str | None) -> str | None:
    return None if user_agent is None else "".join(c for c in user_agent[:200] if c.isprintable())
