"""Adds up each day's receipts once, when no more can come. Runs every hour, and makes up for what it missed."""

from datetime import date, timedelta

from sqlalchemy import Date, cast, func, select, text
from sqlalchemy.dialects.postgresql import insert

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import receipts, usage_closed_days, usage_days
from pantheon.turns.usage_days import KEYS, SUMS, receipts_as_usage

_MARGIN = timedelta(hours=1)
"""After midnight. A receipt has the time at which it was written, and is visible when its transaction commits: within
seconds, by the time-outs of the database."""


async def close_days(database: Database) -> int:
    """Closes what can be closed, oldest day first, and answers how many days that were. Two at once do it once."""
    closed = 0
    while await _close_next(database):
        closed += 1
    return closed


async def _close_next(database: Database) -> bool:
    async with database.transaction() as tx:
        # A day of a large installation takes longer to add up than any request may.
        await tx.execute(text("SET LOCAL statement_timeout = '10min'"))
        day = await _next_day(tx)
        if day is None:
            return False
        row = insert(usage_closed_days).values(day=day, closed_at=func.now()).on_conflict_do_nothing()
        # Whoever comes second waits here for the first, and then finds that it is done.
        if await tx.scalar(row.returning(usage_closed_days.c.day)):
            await _add_up(tx, day)
        return True


async def _next_day(tx: Tx) -> date | None:
    """The first day that is over and not closed; None where there is none, or never was a receipt."""
    after_last = func.max(usage_closed_days.c.day) + 1
    first = select(cast(func.timezone("UTC", func.min(receipts.c.created_at)), Date)).scalar_subquery()
    # By the clock that receipts have their time from.
    today = cast(func.timezone("UTC", func.now() - _MARGIN), Date)
    day, open_day = (await tx.execute(select(func.coalesce(after_last, first), today))).one()
    return day if day is not None and day < open_day else None


async def _add_up(tx: Tx, day: date) -> None:
    rows = receipts_as_usage(day, day).subquery()
    keys = [rows.c[name] for name in KEYS]
    sums = [func.sum(rows.c[name]) for name in SUMS]
    await tx.execute(insert(usage_days).from_select([*KEYS, *SUMS], select(*keys, *sums).group_by(*keys)))
