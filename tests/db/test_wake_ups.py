"""Who listens is woken by a commit, and by nothing else."""

import asyncio
import time

import pytest

from pantheon.db.engine import Database
from pantheon.db.wake_ups import INBOX, listening, wake_up


class GoneWrongError(Exception):
    pass


async def test_a_commit_wakes_who_listens_even_if_he_was_busy(database: Database) -> None:
    async with listening(database.url, INBOX) as wait:
        async with database.transaction() as tx:
            await wake_up(tx, INBOX)

        async with asyncio.timeout(10):
            await wait(asyncio.Event(), 60)


async def test_a_transaction_that_was_rolled_back_wakes_nobody(database: Database) -> None:
    async with listening(database.url, INBOX) as wait:
        with pytest.raises(GoneWrongError):
            async with database.transaction() as tx:
                await wake_up(tx, INBOX)
                raise GoneWrongError

        begun = time.monotonic()
        await wait(asyncio.Event(), 0.3)
        assert time.monotonic() - begun >= 0.3


async def test_who_has_to_stop_waits_no_longer_and_can_wait_again(database: Database) -> None:
    stop = asyncio.Event()
    async with listening(database.url, INBOX) as wait:
        asyncio.get_running_loop().call_later(0.05, stop.set)
        async with asyncio.timeout(10):
            await wait(stop, 60)
            async with database.transaction() as tx:
                await wake_up(tx, INBOX)
            await wait(asyncio.Event(), 60)
