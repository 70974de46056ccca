"""Counters of attempts in fixed windows. They live in the database, so all processes count together."""

from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from pantheon import clock
from pantheon.db.engine import Tx
from pantheon.db.tables import rate_limits
from pantheon.errors import TooManyRequestsError


async def hit(tx: Tx, bucket: str, *, limit: int, window_seconds: int) -> None:
    """Counts one attempt. Raises TooManyRequestsError from `limit` + 1 on, until the window ends."""
    started_at, seconds_left = _window(window_seconds)
    statement = insert(rate_limits).values(bucket=bucket, window_started_at=started_at, hits=1)
    hits = await tx.scalar(
        statement.on_conflict_do_update(
            index_elements=["bucket", "window_started_at"], set_={"hits": rate_limits.c.hits + 1}
        ).returning(rate_limits.c.hits)
    )
    if hits is not None and hits > limit:
        raise TooManyRequestsError(retry_after=seconds_left)


async def take_back(tx: Tx, bucket: str, *, window_seconds: int) -> None:
    """Undoes one `hit`, unless its window has ended since: then it does not matter any more."""
    started_at, _ = _window(window_seconds)
    counted = (rate_limits.c.bucket == bucket, rate_limits.c.window_started_at == started_at, rate_limits.c.hits > 0)
    await tx.execute(update(rate_limits).where(*counted).values(hits=rate_limits.c.hits - 1))


def _window(seconds: int) -> tuple[datetime, int]:
    """When the present window started, and in how many seconds it ends."""
    now = int(clock.now().timestamp())
    return datetime.fromtimestamp(now - now % seconds, UTC), seconds - now % seconds
