"""An operator gives credits to a user."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from pantheon import audit, clock, failpoints
from pantheon.db import idempotency
from pantheon.db.engine import Database
from pantheon.errors import InvalidInputError
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.amounts import NANOCREDITS, format_credits
from pantheon.money.chart import Kind
from pantheon.wallets.changes import Change, credits_of, record_change, wallet_of

Category = Literal["paid", "promotional"]

MOST = 10_000 * NANOCREDITS
LONGEST = timedelta(days=36_525)


async def grant_credits(
    database: Database,
    actor: audit.Actor,
    *,
    user_id: UUID,
    amount: str,
    note: str,
    category: Category = "promotional",
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> Change:
    """Grants `amount` credits, with its row in the audit log. Raises NotFoundError and InvalidInputError."""
    credits = credits_of(amount)
    if not 0 < credits <= MOST:
        raise InvalidInputError(f"amount must be greater than 0 and at most {format_credits(MOST)}")
    request = idempotency.keyed(
        idempotency_key,
        user_id=actor.user_id,
        route=f"grant:{user_id}",
        amount=credits,
        note=note,
        category=category,
        expires_at=expires_at,
    )
    async with database.transaction() as tx:
        wallet_id = await wallet_of(tx, user_id)
        if replay := await idempotency.claim(tx, request):
            return Change.replayed_from(replay.answer)
        if expires_at is not None and not clock.now() < expires_at <= clock.now() + LONGEST:
            raise InvalidInputError("expires_at must be in the future, and within a hundred years")
        grant_id = uuid7()
        posting = await post.grant(
            tx,
            wallet_id=wallet_id,
            grant_id=grant_id,
            kind=Kind.ADMIN_GRANT,
            reference_id=str(grant_id),
            source="admin",
            category=category,
            amount=credits,
            expires_at=expires_at,
            actor=actor.user_id,
            note=note,
        )
        failpoints.reach("grant.posted")
        change = Change.of(user_id, credits, posting)
        await record_change(
            tx,
            actor,
            "grant.posted",
            change,
            request=request,
            category=category,
            expires_at=expires_at and expires_at.isoformat(),
        )
        return change
