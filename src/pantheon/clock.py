"""The one clock of the application. The books have their own, in the database: `ledger_now()`."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def seconds_ahead(there: datetime, *, asked: datetime, answered: datetime) -> int:
    """How far this machine's clock is certainly ahead of another one, which was read between the two; else negative.

    How long the answer took says nothing about the clocks.
    """
    nearest = min(max(there, asked), answered)
    return int((nearest - there).total_seconds())
