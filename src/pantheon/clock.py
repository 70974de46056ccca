"""The one clock of the application. The books have their own, in the database: `ledger_now()`."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)
