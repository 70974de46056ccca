"""Counters of attempts in fixed windows. They live in the database, so all processes count together."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from pantheon import clock
from pantheon.db.engine import Tx
from pantheon.db.tables import rate_limits
from pantheon.errors import TooManyRequestsError


@dataclass(frozen=True)
class Limit:
    bucket: str
    most: int
    window_seconds: int


async def hit(tx: Tx, bucket: str, *, limit: int, window_seconds: int) -> None:
    """Counts one attempt. Raises TooManyRequestsError from `limit` + 1 on, until the window ends."""
    await hit_all(tx, Limit(bucket, limit, window_seconds))


async def hit_all(tx: Tx, *limits: Limit) -> None:
    """The same for several buckets, in one statement."""
    windows = {limit.bucket: _window(limit.window_seconds) for limit in limits}
    rows = [{"bucket": bucket, "window_started_at": began, "hits": 1} for bucket, (began, _) in windows.items()]
    counted = await tx.execute(
        insert(rate_limits)
        .values(rows)
        .on_conflict_do_update(index_elements=["bucket", "window_started_at"], set_={"hits": rate_limits.c.hits + 1})
        .returning(rate_limits.c.bucket, rate_limits.c.hits)
    )
    hits = {row.bucket: row.hits for row in counted}
    for limit in limits:
        if hits[limit.bucket] > limit.most:
            raise TooManyRequestsError(retry_after=windows[limit.bucket][1])


async def take_back(tx: Tx, bucket: str, *, window_seconds: int) -> None:
    """Undoes one `hit`, unless its window has ended since: then it does not matter any more."""
    started_at, _ = _window(window_seconds)
    counted = (rate_limits.c.bucket == bucket, rate_limits.c.window_started_at == started_at, rate_limits.c.hits > 0)
    await tx.execute(update(rate_limits).where(*counted).values(hits=rate_limits.c.hits - 1))


def _window(seconds: int) -> tuple[datetime, int]:
    """When the present window started, and in how many seconds it ends."""
    now = int(clock.now().timestamp())
    return datetime.fromtimestamp(now - now % seconds, UTC), seconds - now % seconds
