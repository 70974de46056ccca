"""What was used, in rows with a day: added up already for the days that are closed, and receipt by receipt after them.

A sum over these rows is the sum over the receipts, whatever was closed and however often: a day is in one of the two
parts. Days are those of UTC.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Date, Select, Subquery, Text, case, cast, func, literal, select, union_all

from pantheon import clock
from pantheon.db.engine import Tx
from pantheon.db.tables import calls, receipts, usage_closed_days, usage_days, wallets
from pantheon.errors import InvalidInputError

_USUAL_DAYS = 30

KEYS = ("day", "user_id", "model_alias", "agent_id", "room_id", "api_key_id")
SUMS = (
    "calls",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "charged",
    "overrun",
    "calls_with_cost",
    "charged_with_cost",
    "provider_cost",
)


@dataclass(frozen=True)
class Period:
    """From the one day to the other, both included."""

    first: date
    last: date


def period_of(first: date | None, last: date | None, *, names: tuple[str, str]) -> Period:
    """What nobody said is up to today, and 30 days long. Raises InvalidInputError, with the `names` of the two."""
    last = last or max(clock.now().date(), first or date.min)
    first = first or last - timedelta(days=_USUAL_DAYS - 1)
    if last < first:
        raise InvalidInputError(f"{names[1]} must be on or after {names[0]}")
    return Period(first, last)


async def usage(tx: Tx, period: Period | None = None) -> Subquery:
    """The rows, with the columns of `usage_days`; of all time without a period."""
    closed_through = await tx.scalar(select(func.max(usage_closed_days.c.day)))
    open_from = None if closed_through is None else closed_through + timedelta(days=1)
    closed = select(*(usage_days.c[name] for name in (*KEYS, *SUMS)))
    # Read before as a value, so that a day which is closed meanwhile is not counted twice; and the planner knows it.
    closed = closed.where(usage_days.c.day < open_from) if open_from else closed.where(literal(False))
    if period is not None:
        closed = closed.where(usage_days.c.day.between(period.first, period.last))
        open_from = max(open_from or period.first, period.first)
    last = None if period is None else period.last
    return union_all(closed, receipts_as_usage(open_from, last)).subquery("usage")


async def page_of(
    tx: Tx, grouped: Select[*tuple[Any, ...]], *order: Any, limit: int | None, offset: int
) -> tuple[list[Any], int]:
    """One page of what was grouped, and how many groups there are in all, out of one reading of the rows."""
    counted = grouped.add_columns(func.count().over().label("total")).order_by(*order).limit(limit).offset(offset)
    rows = list((await tx.execute(counted)).all())
    if rows or offset == 0:
        return rows, rows[0].total if rows else 0
    return [], int(await tx.scalar(select(func.count()).select_from(grouped.subquery())) or 0)


def receipts_as_usage(first: date | None, last: date | None) -> Select[Any]:
    """Each receipt as a row of usage."""
    body = receipts.c.body
    tokens = body["usage"]
    cost = cast(body["provider_cost"].astext, BigInteger)
    query = (
        select(
            cast(func.timezone("UTC", receipts.c.created_at), Date).label("day"),
            wallets.c.user_id,
            cast(body["model_alias"].astext, Text).label("model_alias"),
            calls.c.agent_id,
            calls.c.room_id,
            calls.c.api_key_id,
            literal(1, BigInteger).label("calls"),
            cast(tokens["input"].astext, BigInteger).label("input_tokens"),
            cast(tokens["cached_input"].astext, BigInteger).label("cached_input_tokens"),
            cast(tokens["output"].astext, BigInteger).label("output_tokens"),
            receipts.c.charged,
            receipts.c.overrun,
            case((cost.is_(None), 0), else_=1).label("calls_with_cost"),
            case((cost.is_(None), 0), else_=receipts.c.charged).label("charged_with_cost"),
            func.coalesce(cost, 0).label("provider_cost"),
        )
        .join(wallets, wallets.c.id == receipts.c.wallet_id)
        .outerjoin(calls, calls.c.id == receipts.c.id)
    )
    if first is not None:
        query = query.where(receipts.c.created_at >= _midnight(first))
    if last is not None:
        query = query.where(receipts.c.created_at < _midnight(last + timedelta(days=1)))
    return query


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
