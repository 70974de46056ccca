"""What a user's calls used, call by call."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from pantheon.db.engine import Database
from pantheon.db.tables import calls, receipts, wallets
from pantheon.turns.usage_days import usage


@dataclass(frozen=True)
class UsageEvent:
    id: UUID
    """Of the call, and of its receipt."""
    model_alias: str
    charged: int
    """Nanocredits."""
    usage: dict[str, int]
    """As in `money.rate_card.Usage`: cached input is in the input, reasoning in the output."""
    quality: str
    turn_id: UUID | None
    created_at: datetime


async def list_usage(database: Database, *, user_id: UUID, limit: int, offset: int = 0) -> tuple[list[UsageEvent], int]:
    """One page, newest first, and how many there are in all."""
    async with database.transaction() as tx:
        # Counted by days: a wallet may have a million receipts.
        days = await usage(tx)
        total = await tx.scalar(select(func.sum(days.c.calls)).where(days.c.user_id == user_id))
        # Not a join, so that the page is read from the end of the index and nothing has to be sorted.
        wallet_id = select(wallets.c.id).where(wallets.c.user_id == user_id).scalar_subquery()
        rows = await tx.execute(
            select(receipts.c.id, receipts.c.charged, receipts.c.body, receipts.c.created_at, calls.c.turn_id)
            .outerjoin(calls, calls.c.id == receipts.c.id)
            .where(receipts.c.wallet_id == wallet_id)
            .order_by(receipts.c.created_at.desc(), receipts.c.id.desc())
            .limit(limit)
            .offset(offset)
        )
        return [_event(row) for row in rows], int(total or 0)


def _event(row: Any) -> UsageEvent:
    return UsageEvent(
        id=row.id,
        model_alias=row.body["model_alias"],
        charged=row.charged,
        usage=row.body["usage"],
        quality=row.body["quality"],
        turn_id=row.turn_id,
        created_at=row.created_at,
    )
