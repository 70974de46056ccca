"""Somebody leaves for good. In one transaction the account is closed and no row says any more who it was.

What they had in the workspace is purged by the worker (workspace/purge.py), for which the user's state is enough, so
nothing has to be gone on with when a process dies. The books, top-ups and the audit log stay: they name people by ids
alone, and docs/privacy.md says for what they are needed.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, delete, or_, select, update

from pantheon import audit, failpoints
from pantheon.audit import Actor
from pantheon.db import jobs, locks
from pantheon.db.engine import Database, Tx
from pantheon.db.locks import Lock
from pantheon.db.tables import (
    api_keys,
    calls,
    chat_sessions,
    idempotency_keys,
    identities,
    inbox_events,
    one_time_links,
    rate_limits,
    sessions,
    stripe_customers,
    top_ups,
    turns,
    users,
    wallets,
)
from pantheon.errors import ConflictError
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.amounts import format_credits
from pantheon.money.top_up import OPEN, State
from pantheon.users import attempts
from pantheon.users.rights import Role
from pantheon.users.user import User, lock_user

_PENDING = (*OPEN, State.REVIEW)


async def erase_user(database: Database, *, user_id: UUID, actor: Actor, forfeit: bool = False) -> int:
    """Answers the nanocredits that were forfeited; 0 also for a user who was erased before.

    Raises NotFoundError, and ConflictError while work or a payment is under way or credits are left: with `forfeit`
    those are given up.
    """
    async with database.transaction() as tx:
        # Before anything else, as whoever opens a top-up does: none can begin between the question and the answer.
        await locks.take(tx, Lock.TOP_UPS_OF_USER, str(user_id))
        user = await lock_user(tx, user_id)
        if user.state == "deleted":
            return 0
        await _refuse_while_paying(tx, user_id)
        forfeited = await _close_wallet(tx, user_id, actor, forfeit=forfeit)
        await _refuse_while_working(tx, user_id)
        await _forget(tx, user)
        await jobs.defer_purge(tx)
        # Without an address: this line can never be redacted.
        by, subject = Actor(actor.user_id, actor.name), f"user:{user_id}"
        await audit.record(tx, by, "user.erased", subject=subject, forfeited=format_credits(forfeited))
        failpoints.reach("erasure.written")
    failpoints.reach("erasure.committed")
    return forfeited


async def _refuse_while_paying(tx: Tx, user_id: UUID) -> None:
    theirs = top_ups.c.user_id == user_id
    pending = select(top_ups.c.id).where(theirs, top_ups.c.state.in_(_PENDING))
    news = select(inbox_events.c.id).where(
        inbox_events.c.state == "received", inbox_events.c.top_up_id.in_(select(top_ups.c.id).where(theirs))
    )
    if await tx.scalar(select(or_(pending.exists(), news.exists()))):
        raise ConflictError("A payment of this account is not finished. Cancel it, or wait until it is decided.")


async def _refuse_while_working(tx: Tx, user_id: UUID) -> None:
    """Most work has a hold, which the closing of the wallet has seen; what costs nothing has none."""
    mine = select(chat_sessions.c.id).where(chat_sessions.c.user_id == user_id)
    running = select(turns.c.id).where(turns.c.session_id.in_(mine), turns.c.status.in_(("queued", "running")))
    called = select(calls.c.id).where(calls.c.user_id == user_id, calls.c.state == "open")
    if await tx.scalar(select(or_(running.exists(), called.exists()))):
        raise _still_working()


async def _close_wallet(tx: Tx, user_id: UUID, actor: Actor, *, forfeit: bool) -> int:
    wallet_id = await tx.scalar(select(wallets.c.id).where(wallets.c.user_id == user_id))
    assert wallet_id is not None
    # Keeps the wallet locked, and what has run out is nothing to forfeit.
    wallet = await post.expire(tx, wallet_id=wallet_id)
    if wallet.held > 0:
        raise _still_working()
    left = wallet.available
    if left > 0 and not forfeit:
        raise ConflictError(
            f"{format_credits(left)} credits are left. Spend them first, or say that they are forfeited (forfeit).",
            available=format_credits(left),
        )
    if left > 0:
        taken = await post.adjust(
            tx, wallet_id=wallet_id, adjustment_id=uuid7(), amount=-left, actor=actor.user_id, note=None
        )
        taken.expect("ok")
    closed = await post.close_wallet(tx, wallet_id=wallet_id)
    if closed.code == "not_empty":
        raise _still_working()
    closed.expect("ok", "unchanged")
    return left


async def _forget(tx: Tx, user: User) -> None:
    links = one_time_links.c.user_id == user.id
    if user.email is not None:
        links |= one_time_links.c.email == user.email
        await tx.execute(delete(rate_limits).where(rate_limits.c.bucket == attempts.email_bucket(user.email)))
    gone: list[tuple[Table, ColumnElement[bool]]] = [(one_time_links, links)]
    # Their payments at Stripe stay known by the top-ups, which is all that a refund needs.
    for table in (sessions, identities, api_keys, idempotency_keys, stripe_customers):
        gone.append((table, table.c.user_id == user.id))
    for table, condition in gone:
        await tx.execute(delete(table).where(condition))
    # Stripe may say there who paid. The rows stay, so that an event is known whenever it comes again.
    about = inbox_events.c.top_up_id.in_(select(top_ups.c.id).where(top_ups.c.user_id == user.id))
    await tx.execute(update(inbox_events).where(about, inbox_events.c.state != "received").values(body=b""))
    nobody: dict[str, Any] = {"email": None, "password_hash": None, "role": Role.USER, "state": "deleted"}
    await tx.execute(update(users).where(users.c.id == user.id).values(nobody))


def _still_working() -> ConflictError:
    return ConflictError("Something of this account is still running. Stop it, or wait a moment.", retry_after=30)
