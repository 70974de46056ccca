"""An operator corrects a balance, in either direction."""

from uuid import UUID

from pantheon import audit
from pantheon.db import idempotency
from pantheon.db.engine import Database
from pantheon.errors import InvalidInputError, NotEnoughCreditsError
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.amounts import format_credits
from pantheon.wallets.changes import Change, credits_of, record_change, wallet_of
from pantheon.wallets.grant_credits import MOST


async def adjust_credits(
    database: Database,
    actor: audit.Actor,
    *,
    user_id: UUID,
    amount: str,
    note: str,
    idempotency_key: str | None = None,
) -> Change:
    """Adds or takes `amount` credits, never more than are available.

    Raises NotFoundError, InvalidInputError and NotEnoughCreditsError.
    """
    credits = credits_of(amount)
    if credits == 0 or abs(credits) > MOST:
        raise InvalidInputError(f"amount must not be 0, and at most {format_credits(MOST)} either way")
    request = idempotency.keyed(
        idempotency_key, user_id=actor.user_id, route=f"adjust:{user_id}", amount=credits, note=note
    )
    async with database.transaction() as tx:
        wallet_id = await wallet_of(tx, user_id)
        if replay := await idempotency.claim(tx, request):
            return Change.replayed_from(replay.answer)
        posting = await post.adjust(
            tx, wallet_id=wallet_id, adjustment_id=uuid7(), amount=credits, actor=actor.user_id, note=note
        )
        if posting.code == "not_enough":
            raise NotEnoughCreditsError
        change = Change.of(user_id, credits, posting)
        await record_change(tx, actor, "adjustment.posted", change, request=request)
        return change
