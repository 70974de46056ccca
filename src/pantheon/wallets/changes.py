"""What grants and adjustments by operators share: finding the wallet, the answer, the rows beside the posting."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self
from uuid import UUID

from sqlalchemy import select

from pantheon import audit
from pantheon.db import idempotency
from pantheon.db.engine import Tx
from pantheon.db.tables import users, wallets
from pantheon.errors import InvalidInputError, NotFoundError
from pantheon.ledger.post import Posting
from pantheon.money.amounts import format_credits, parse_credits

_REFUSALS = {
    "amount_out_of_range": "amount is more than this wallet can hold",
    "already_expired": "expires_at must be in the future",
}


@dataclass(frozen=True)
class Change:
    """Amounts in nanocredits; the balance is the one right after the change."""

    user_id: UUID
    amount: int
    balance: int
    transfer_id: UUID
    replayed: bool = False

    @classmethod
    def of(cls, user_id: UUID, amount: int, posting: Posting) -> Self:
        """Raises InvalidInputError for what only the ledger sees: a full wallet, a time that has just run out."""
        if posting.code in _REFUSALS:
            raise InvalidInputError(_REFUSALS[posting.code])
        posting.expect("ok")
        assert posting.transfer_id is not None
        return cls(user_id, amount, posting.balance, posting.transfer_id)

    @classmethod
    def replayed_from(cls, answer: dict[str, Any]) -> Self:
        ids = {name: UUID(answer[name]) for name in ("user_id", "transfer_id")}
        return replace(cls(**{**answer, **ids}), replayed=True)


def credits_of(amount: str) -> int:
    """Nanocredits. Raises InvalidInputError."""
    try:
        return parse_credits(amount)
    except ValueError as error:
        raise InvalidInputError(f"amount {error}") from None


async def wallet_of(tx: Tx, user_id: UUID) -> UUID:
    """Raises NotFoundError for a user who never was or has left."""
    wallet_id = await tx.scalar(
        select(wallets.c.id)
        .join(users, users.c.id == wallets.c.user_id)
        .where(users.c.id == user_id, users.c.state != "deleted")
    )
    if wallet_id is None:
        raise NotFoundError("User not found.")
    return UUID(str(wallet_id))


async def record_change(
    tx: Tx,
    actor: audit.Actor,
    action: str,
    change: Change,
    *,
    request: idempotency.Request | None,
    **details: Any,
) -> None:
    """The audit row and the answer for replays, in the transaction of the posting.

    The note stays out of the audit log, which cannot be redacted: the transfer leads to it.
    """
    answer = asdict(change)
    answer |= {"user_id": str(change.user_id), "transfer_id": str(change.transfer_id)}
    await idempotency.store_answer(tx, request, answer)
    await audit.record(
        tx,
        actor,
        action,
        subject=f"user:{change.user_id}",
        transfer_id=str(change.transfer_id),
        amount=format_credits(change.amount),
        balance_after=format_credits(change.balance),
        **details,
    )
