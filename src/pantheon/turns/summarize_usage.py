"""What was used in a period: by model, and over time."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from sqlalchemy import Date, cast, func, select

from pantheon.db.engine import Database
from pantheon.turns.usage_days import Period, usage

Bucket = Literal["day", "week", "month"]


@dataclass(frozen=True)
class Usage:
    """What a model was used for in a bucket of time. Credits in nanocredits."""

    date: date
    """The first day of the bucket; weeks begin on Mondays."""
    model_alias: str
    calls: int
    input_tokens: int
    output_tokens: int
    charged: int


@dataclass(frozen=True)
class Summary:
    rows: list[Usage]
    """Newest first, and by model."""

    @property
    def calls(self) -> int:
        return sum(row.calls for row in self.rows)

    @property
    def output_tokens(self) -> int:
        return sum(row.output_tokens for row in self.rows)

    @property
    def charged(self) -> int:
        return sum(row.charged for row in self.rows)

    def by_model(self) -> list[tuple[str, int, int]]:
        """Model, calls and nanocredits; the dearest first."""
        calls, charged = Counter[str](), Counter[str]()
        for row in self.rows:
            calls[row.model_alias] += row.calls
            charged[row.model_alias] += row.charged
        return sorted(((model, calls[model], charged[model]) for model in calls), key=lambda item: (-item[2], item[0]))

    def by_date(self) -> list[tuple[date, int, int]]:
        """Date, calls and nanocredits; oldest first. Dates without a call are left out."""
        calls, charged = Counter[date](), Counter[date]()
        for row in self.rows:
            calls[row.date] += row.calls
            charged[row.date] += row.charged
        return [(day, calls[day], charged[day]) for day in sorted(calls)]


async def summarize_usage(
    database: Database,
    period: Period,
    *,
    bucket: Bucket = "day",
    user_id: UUID | None = None,
    model_alias: str | None = None,
) -> Summary:
    async with database.transaction() as tx:
        days = await usage(tx, period)
        day = cast(func.date_trunc(bucket, days.c.day), Date)
        names = ("calls", "input_tokens", "output_tokens", "charged")
        sums = (func.sum(days.c[name]) for name in names)
        query = select(day, days.c.model_alias, *sums).group_by(day, days.c.model_alias)
        if user_id is not None:
            query = query.where(days.c.user_id == user_id)
        if model_alias is not None:
            query = query.where(days.c.model_alias == model_alias)
        rows = (await tx.execute(query.order_by(day.desc(), days.c.model_alias))).all()
    return Summary([Usage(row[0], row[1], *map(int, row[2:])) for row in rows])
