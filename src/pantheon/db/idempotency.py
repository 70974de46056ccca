"""Idempotency keys of callers: the same key and request gets the first answer again, another request is refused."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, update

from pantheon import clock
from pantheon.db import locks
from pantheon.db.engine import Tx
from pantheon.db.locks import Lock
from pantheon.db.tables import idempotency_keys as keys
from pantheon.errors import IdempotencyInProgressError, IdempotencyKeyReusedError


@dataclass(frozen=True)
class Request:
    """One POST of one user that carried an Idempotency-Key."""

    user_id: UUID
    key: str
    route: str
    body: dict[str, Any]

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(json.dumps([self.route, self.body], sort_keys=True, default=str).encode()).digest()


def keyed(key: str | None, *, user_id: UUID | None, route: str, **body: Any) -> Request | None:
    """The request to `claim`, if it came with a key; keys belong to users."""
    return None if key is None or user_id is None else Request(user_id, key, route, body)


@dataclass(frozen=True)
class Replay:
    """What the first request with the key left behind."""

    resource_id: UUID | None
    answer: Any


async def claim(tx: Tx, request: Request | None, *, resource_id: UUID | None = None) -> Replay | None:
    """None for the first use of the key, which is now claimed in `tx`; else what the first use left behind.

    Raises IdempotencyKeyReusedError for another request with the key, and IdempotencyInProgressError while the first
    one has not committed: nobody waits for somebody else's transaction. A request without a key is always the first.
    """
    if request is None:
        return None
    free = await locks.try_take(tx, Lock.IDEMPOTENCY_KEY, f"{request.user_id}:{request.key}")
    if not free:
        raise IdempotencyInProgressError(retry_after=1)
    prior = await look(tx, request)
    if prior is not None:
        return prior
    await tx.execute(
        insert(keys).values(
            user_id=request.user_id,
            key=request.key,
            route=request.route,
            fingerprint=request.fingerprint,
            resource_id=resource_id,
            created_at=clock.now(),
        )
    )
    return None


async def look(tx: Tx, request: Request | None) -> Replay | None:
    """What the first request with the key left behind, without claiming it. Raises IdempotencyKeyReusedError."""
    if request is None:
        return None
    mine = (keys.c.user_id == request.user_id, keys.c.key == request.key)
    prior = (await tx.execute(select(keys).where(*mine))).one_or_none()
    return None if prior is None else _replay(request, prior)


def _replay(request: Request, prior: Row[Any]) -> Replay:
    if bytes(prior.fingerprint) != request.fingerprint:
        raise IdempotencyKeyReusedError
    return Replay(prior.resource_id, prior.answer)


async def store_answer(tx: Tx, request: Request | None, answer: dict[str, Any]) -> None:
    """Keeps the answer for replays; commits together with what it tells of."""
    if request is None:
        return
    await tx.execute(
        update(keys).where(keys.c.user_id == request.user_id, keys.c.key == request.key).values(answer=answer)
    )


async def drop_unanswered(tx: Tx, request: Request, *, before: datetime) -> None:
    """Frees a key that was claimed `before`, where no answer was kept and nothing was made."""
    mine = (keys.c.user_id == request.user_id, keys.c.key == request.key, keys.c.fingerprint == request.fingerprint)
    unanswered = (keys.c.answer.is_(None), keys.c.resource_id.is_(None), keys.c.created_at < before)
    await tx.execute(delete(keys).where(*mine, *unanswered))
