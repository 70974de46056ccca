import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError

_PAUSE_SECONDS = 0.5

Answer = TypeVar("Answer")


async def when_back(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Asks until the database can be reached. Where the connection broke at the commit it is asked a second time."""
    while True:
        try:
            return await ask()
        except (DatabaseBusyError, DatabaseUnavailableError):
            await asyncio.sleep(_PAUSE_SECONDS)
