"""A job is there exactly when the row that it is about is."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from pantheon.db.engine import Database
from pantheon.db.jobs import HANDLE_INBOX_EVENT, defer_inbox_event
from pantheon.ids import uuid7


class GoneWrongError(Exception):
    pass


async def _jobs(database: Database) -> list[tuple[str, str]]:
    async with database.transaction() as tx:
        rows = await tx.execute(text("SELECT task_name, args ->> 'inbox_event_id' FROM procrastinate_jobs"))
        return [tuple(row) for row in rows]


async def _defer(database: Database, event: UUID) -> None:
    async with database.transaction() as tx:
        await defer_inbox_event(tx, event)


async def test_a_committed_transaction_leaves_its_job(database: Database) -> None:
    event = uuid7()
    async with database.transaction() as tx:
        await defer_inbox_event(tx, event)
        # Nobody sees it before it commits.
        assert await _jobs(database) == []

    assert await _jobs(database) == [(HANDLE_INBOX_EVENT, str(event))]


async def test_a_transaction_that_was_rolled_back_leaves_no_job(database: Database) -> None:
    with pytest.raises(GoneWrongError):
        async with database.transaction() as tx:
            await defer_inbox_event(tx, uuid7())
            raise GoneWrongError

    assert await _jobs(database) == []


async def test_at_most_one_job_waits_for_an_event(database: Database) -> None:
    event = uuid7()
    async with database.transaction() as tx:
        await defer_inbox_event(tx, event)
        await defer_inbox_event(tx, event)
        # The refused second one has not broken the transaction.
        assert await tx.scalar(text("SELECT 1")) == 1
    await _defer(database, event)
    await _defer(database, other := uuid7())

    assert await _jobs(database) == [(HANDLE_INBOX_EVENT, str(event)), (HANDLE_INBOX_EVENT, str(other))]


async def test_an_event_that_is_deferred_by_many_at_once_gets_one_job(database: Database) -> None:
    event = uuid7()

    await asyncio.gather(*(_defer(database, event) for _ in range(10)))

    assert len(await _jobs(database)) == 1
