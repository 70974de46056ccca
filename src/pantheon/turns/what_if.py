"""What calls of the past would have come to at the prices of another rate card. Nothing is changed by asking."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import receipts
from pantheon.money.rate_card import Rate, Usage, charge
from pantheon.turns.rate_cards import RateCard

_ROWS_AT_ONCE = 1_000


@dataclass
class Sum:
    """Nanocredits of the calls of one model."""

    calls: int = 0
    charged: int = 0
    """What users paid."""
    price: int = 0
    """What they came to then: more than was charged where the operator bore a part, or nothing was enforced."""
    would_be: int | None = 0
    """The price on the other card; None where that does not price the model."""


@dataclass(frozen=True)
class WhatIf:
    models: dict[str, Sum]

    @property
    def priced(self) -> Sum:
        """All that both cards price."""
        return _total([item for item in self.models.values() if item.would_be is not None])

    @property
    def unpriced(self) -> Sum:
        return _total([item for item in self.models.values() if item.would_be is None])


async def what_if(
    database: Database,
    card: RateCard,
    *,
    start: datetime,
    end: datetime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> WhatIf:
    """Prices each receipt from `start` until before `end` anew, by the same rules and roundings.

    `progress` is told how many of how many are done, again and again.
    """
    sums: dict[str, Sum] = {}
    rates = {model.alias: model.rate for model in card.models}
    done = 0
    async with database.transaction() as tx:
        # One look at the books, and the application's role is cut off after seconds.
        await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        within = (receipts.c.created_at >= start) & (receipts.c.created_at < end)
        total = await tx.scalar(select(func.count()).select_from(receipts).where(within)) or 0
        query = select(receipts.c.charged, receipts.c.body).where(within)
        async for page in _pages(tx, query):
            for charged, body in page:
                alias = body["model_alias"]
                _add(sums.setdefault(alias, Sum()), rates.get(alias), charged, body)
            done += len(page)
            progress(done, total)
    return WhatIf(dict(sorted(sums.items())))


async def _pages(tx: Tx, query: Any) -> AsyncIterator[Any]:
    async with tx.stream(query) as result:
        async for page in result.partitions(_ROWS_AT_ONCE):
            yield page


def _add(item: Sum, rate: Rate | None, charged: int, receipt: Mapping[str, Any]) -> None:
    item.calls += 1
    item.charged += charged
    # A line below zero says what of the price was not charged.
    item.price += sum(line["amount"] for line in receipt["lines"] if line["amount"] > 0)
    usage = Usage(**{field.name: receipt["usage"][field.name] for field in fields(Usage)})
    item.would_be = None if rate is None else (item.would_be or 0) + charge(rate, usage).total


def _total(items: list[Sum]) -> Sum:
    return Sum(
        calls=sum(item.calls for item in items),
        charged=sum(item.charged for item in items),
        price=sum(item.price for item in items),
        would_be=sum(item.would_be or 0 for item in items),
    )
