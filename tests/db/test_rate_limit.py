import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.rate_limit import hit
from pantheon.db.tables import rate_limits
from pantheon.errors import TooManyRequestsError

# So long that no window can end in the middle of a test.
AGE = 10**10


async def _hit(database: Database, bucket: str = "b", *, limit: int = 3) -> bool:
    try:
        async with database.transaction() as tx:
            await hit(tx, bucket, limit=limit, window_seconds=AGE)
    except TooManyRequestsError as error:
        assert error.retry_after is not None
        assert 1 <= error.retry_after <= AGE
        return False
    return True


async def test_up_to_the_limit_and_not_one_more(database: Database) -> None:
    assert [await _hit(database) for _ in range(5)] == [True, True, True, False, False]


async def test_each_bucket_counts_for_itself(database: Database) -> None:
    assert [await _hit(database, bucket, limit=1) for bucket in ("a", "b", "a")] == [True, True, False]


async def test_a_window_that_has_ended_is_forgotten(database: Database) -> None:
    for _ in range(4):
        await _hit(database)
    async with database.transaction() as tx:
        await tx.execute(
            rate_limits.update().values(window_started_at=rate_limits.c.window_started_at - timedelta(seconds=1))
        )

    assert await _hit(database)


async def test_many_at_once_are_counted_one_by_one(database: Database) -> None:
    allowed = await asyncio.gather(*(_hit(database, limit=7) for _ in range(20)))

    assert allowed.count(True) == 7


async def test_an_attempt_that_was_rolled_back_was_none(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await hit(tx, "b", limit=3, window_seconds=AGE)
            raise ZeroDivisionError

    async with database.transaction() as tx:
        assert (await tx.execute(select(rate_limits))).all() == []
