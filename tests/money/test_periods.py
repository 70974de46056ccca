from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from pantheon.money.periods import Period, period_from, resets_at

CASES: list[tuple[Period, datetime, date, datetime]] = [
    ("day", datetime(2026, 2, 28, 23, 59, tzinfo=UTC), date(2026, 2, 28), datetime(2026, 3, 1, tzinfo=UTC)),
    ("month", datetime(2026, 2, 1, tzinfo=UTC), date(2026, 2, 1), datetime(2026, 3, 1, tzinfo=UTC)),
    ("month", datetime(2026, 1, 31, 12, tzinfo=UTC), date(2026, 1, 1), datetime(2026, 2, 1, tzinfo=UTC)),
    ("month", datetime(2026, 12, 31, 23, tzinfo=UTC), date(2026, 12, 1), datetime(2027, 1, 1, tzinfo=UTC)),
    # Where it is still May, the first of June has begun in UTC.
    (
        "month",
        datetime(2026, 5, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
        date(2026, 6, 1),
        datetime(2026, 7, 1, tzinfo=UTC),
    ),
]


@pytest.mark.parametrize(("period", "at", "first", "end"), CASES)
def test_periods_are_days_and_months_of_utc(period: Period, at: datetime, first: date, end: datetime) -> None:
    assert (period_from(period, at), resets_at(period, at)) == (first, end)
