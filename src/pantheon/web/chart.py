"""Bars for a value of each day, in whole parts of the height, so that the page needs no script to draw them."""

from dataclasses import dataclass
from datetime import date, timedelta

HEIGHT = 1000


@dataclass(frozen=True)
class Bar:
    day: date
    value: int
    height: int
    """Of HEIGHT. What is not zero can be seen."""


def daily_bars(values: dict[date, int], *, first: date, last: date) -> list[Bar]:
    """A bar for every day of the period, oldest first."""
    most = max(values.values(), default=0) or 1
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [Bar(day, value := values.get(day, 0), -(-value * HEIGHT // most)) for day in days]
