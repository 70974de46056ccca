"""Wakes another process once a transaction has committed, so that nobody has to look every few milliseconds.

A call can be lost, as while nobody listens. The row that it is about is the truth, and whoever listens looks by himself
after a while.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
from psycopg import sql
from sqlalchemy import text

from pantheon.db.engine import Tx

INBOX = "pantheon_inbox"

_CALL = text("SELECT pg_notify(:channel, '')")


async def wake_up(tx: Tx, channel: str) -> None:
    """Wakes all that listen once `tx` has committed, and never if it does not."""
    await tx.execute(_CALL, {"channel": channel})


@asynccontextmanager
async def listening(url: str, channel: str) -> AsyncIterator[Callable[[asyncio.Event, float], Awaitable[None]]]:
    """A function that waits for the next call, for `stop`, or for so many seconds, whichever comes first.

    What is called between two waits ends the second at once. Needs a session of its own, so no pooler. It raises
    psycopg.OperationalError when the connection is lost.
    """
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, connect_timeout=5, application_name="pantheon-inbox"
    ) as connection:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

        async def called(seconds: float) -> None:
            async for _ in connection.notifies(timeout=seconds, stop_after=1):
                pass

        async def wait(stop: asyncio.Event, seconds: float) -> None:
            call, stopped = asyncio.create_task(called(seconds)), asyncio.create_task(stop.wait())
            await asyncio.wait([call, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not call.done():
                call.cancel()
            with suppress(asyncio.CancelledError):
                await call

        yield wait
