"""One commit for many: what arrives while the last batch commits is the next batch, and no timer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError

_BATCH = 256
_MOST_WAITING = 4096

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class GroupCommit(Generic[Item, Answer]):
    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        """`write` commits a batch, or nothing of it, and has an answer for each item."""
        self._write = write
        self._queue: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Answer:
        """The item's answer, once it is durable. Raises what `write` raises."""
        if len(self._queue) >= _MOST_WAITING:
            raise DatabaseBusyError(retry_after=1)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((item, answer))
        if self._task is None:
            # Not in the context of the request that happens to be the first.
            self._task = asyncio.create_task(self._run(), context=Context())
        return await answer

    async def _run(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                await self._settle(batch)
        finally:
            self._task = None

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._write([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, DatabaseBusyError | DatabaseUnavailableError):
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                # One that cannot be written must not spoil the others.
                for each in batch:
                    await self._settle([each])
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
