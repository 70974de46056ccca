"""How many people work here: those who made a call, and those who are new."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from sqlalchemy import Date, cast, func, select

from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.turns.usage_days import Period, usage

Window = Literal["day", "week", "month"]

_DAYS: dict[Window, int] = {"day": 1, "week": 7, "month": 30}


@dataclass(frozen=True)
class ActiveUsers:
    active: int
    new: int
    """Whose account was made in the window, whether they made a call or not."""


async def count_active_users(database: Database, window: Window, *, as_of: date) -> ActiveUsers:
    """In the 1, 7 or 30 days that end with `as_of`."""
    period = Period(as_of - timedelta(days=_DAYS[window] - 1), as_of)
    async with database.transaction() as tx:
        days = await usage(tx, period)
        active = await tx.scalar(select(func.count(days.c.user_id.distinct())))
        joined = cast(func.timezone("UTC", users.c.created_at), Date)
        new = await tx.scalar(select(func.count()).select_from(users).where(joined.between(period.first, period.last)))
    return ActiveUsers(active or 0, new or 0)
