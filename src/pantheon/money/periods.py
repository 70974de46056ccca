"""The periods that limits count in: days and months of UTC."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, get_args

Period = Literal["day", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)


def period_from(period: Period, at: datetime) -> date:
    """The first day of the period that `at` is in."""
    day = at.astimezone(UTC).date()
    return day.replace(day=1) if period == "month" else day


def resets_at(period: Period, at: datetime) -> datetime:
    """When the next period begins."""
    first = period_from(period, at)
    following = first + timedelta(days=32 if period == "month" else 1)
    return datetime.combine(period_from(period, datetime.combine(following, time(), UTC)), time(), UTC)
