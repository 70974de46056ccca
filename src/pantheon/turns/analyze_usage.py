"""Who used which model, and how much."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select

from pantheon.db.engine import Database
from pantheon.turns.usage_days import Period, page_of, usage


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
        keys = (days.c.user_id, days.c.model_alias)
        sums = {
            name: func.sum(days.c[name]).label(name) for name in ("input_tokens", "output_tokens", "charged", "calls")
        }
        grouped = select(*keys, *sums.values()).group_by(*keys)
        rows, total = await page_of(tx, grouped, sums["charged"].desc(), *keys, limit=limit, offset=offset)
    return [UserUsage(row[0], row[1], *map(int, row[2:-1])) for row in rows], total
