"""What calls brought in against what their providers take for them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from sqlalchemy import Text, cast, func, select

from pantheon.db.engine import Database
from pantheon.turns.usage_days import Period, page_of, usage

By = Literal["user", "agent", "model", "day"]

_COLUMNS: dict[By, str] = {"user": "user_id", "agent": "agent_id", "model": "model_alias", "day": "day"}


@dataclass(frozen=True)
class Margin:
    """Credits in nanocredits, money in billionths of the major unit."""

    key: str | None
    """The user, agent, model or day; None for calls without an agent."""
    calls: int
    charged: int
    overrun: int
    """Used beyond what was reserved or could be paid: the operator's."""
    value: int
    """Of what was charged, at today's price of credits, also where they were given away."""
    calls_with_cost: int
    """Those of which it is known what the provider takes. Unknown is not zero."""
    value_with_cost: int
    """Of what those were charged."""
    provider_cost: int

    @property
    def margin(self) -> int | None:
        """Of the calls whose cost is known; None where it is known of none."""
        return self.value_with_cost - self.provider_cost if self.calls_with_cost else None


async def view_margin(
    database: Database, period: Period, *, by: By, credits_per_major: Fraction, limit: int | None, offset: int = 0
) -> tuple[list[Margin], int]:
    """One page and how many there are in all: days with the newest first, the rest with the dearest first."""
    async with database.transaction() as tx:
        days = await usage(tx, period)
        key = days.c[_COLUMNS[by]]
        names = ("calls", "charged", "overrun", "calls_with_cost", "charged_with_cost", "provider_cost")
        sums = {name: func.sum(days.c[name]).label(name) for name in names}
        order = key.desc() if by == "day" else sums["charged"].desc()
        grouped = select(cast(key, Text).label("key"), *sums.values()).group_by(key)
        rows, total = await page_of(tx, grouped, order, key, limit=limit, offset=offset)
        listed = [
            Margin(
                key=row.key,
                calls=int(row.calls),
                charged=int(row.charged),
                overrun=int(row.overrun),
                value=_value(int(row.charged), credits_per_major),
                calls_with_cost=int(row.calls_with_cost),
                value_with_cost=_value(int(row.charged_with_cost), credits_per_major),
                provider_cost=int(row.provider_cost),
            )
            for row in rows
        ]
    return listed, total


def _value(nanocredits: int, credits_per_major: Fraction) -> int:
    """In billionths of the major unit, rounded down."""
    return nanocredits * credits_per_major.denominator // credits_per_major.numerator
