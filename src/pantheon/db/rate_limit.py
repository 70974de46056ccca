"""Counters of attempts in fixed windows. They live in the database, so all processes count together."""

from datetime import UTC, datetime

from sqlalchemy.dialects.postgresql import insert

from pantheon import clock
from pantheon.db.engine import Tx
from pantheon.db.tables import rate_limits
from pantheon.errors import TooManyRequestsError


async def hit(tx: Tx, bucket: str, *, limit: int, window_seconds: int) -> None:
    """Counts one attempt. Raises TooManyRequestsError from `limit` + 1 on, until the window ends."""
    second = int(clock.now().timestamp())
    window_start = second - second % window_seconds
    statement = insert(rate_limits).values(
        bucket=bucket, window_started_at=datetime.fromtimestamp(window_start, UTC), hits=1
    )
    hits = await tx.scalar(
        statement.on_conflict_do_update(
            index_elements=["bucket", "window_started_at"], set_={"hits": rate_limits.c.hits + 1}
        ).returning(rate_limits.c.hits)
    )
    if hits is not None and hits > limit:
        raise TooManyRequestsError(retry_after=window_start + window_seconds - second)
