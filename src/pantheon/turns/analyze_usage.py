"""Who used which model, and how much."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select

from pantheon.db.engine import Database
from pantheon.turns.usage_days import Period, usage


@dataclass(frozen=True)
class UserUsage:
    user_id: UUID
    model_alias: str
    input_tokens: int
    output_tokens: int
    charged: int
    """Nanocredits."""
    calls: int


async def analyze_usage(
    database: Database, period: Period, *, limit: int, offset: int = 0
) -> tuple[list[UserUsage], int]:
    """One page, the dearest first, and how many there are in all."""
    async with database.transaction() as tx:
        days = await usage(tx, period)
        names = ("input_tokens", "output_tokens", "charged", "calls")
        keys = (days.c.user_id, days.c.model_alias)
        grouped = select(*keys, *(func.sum(days.c[name]).label(name) for name in names)).group_by(*keys).cte("grouped")
        rows = await tx.execute(
            select(grouped)
            .order_by(grouped.c.charged.desc(), grouped.c.user_id, grouped.c.model_alias)
            .limit(limit)
            .offset(offset)
        )
        listed = [UserUsage(row[0], row[1], *map(int, row[2:])) for row in rows]
        total = await tx.scalar(select(func.count()).select_from(select(*keys).distinct().subquery()))
    return listed, total or 0
