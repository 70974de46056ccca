"""Group commit in its smallest form, over the ledger's batch functions."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import psycopg

_MOST = 512


class _Lane:
    """One connection that sends all that queued up while its last batch was committing."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self.queue: list[tuple[str, dict[str, Any], asyncio.Future[str]]] = []
        self.arrived = asyncio.Event()

    async def run(self) -> None:
        while True:
            await self.arrived.wait()
            taken, self.queue = self.queue[:_MOST], self.queue[_MOST:]
            if not self.queue:
                self.arrived.clear()
            async with self.connection.pipeline(), self.connection.transaction():
                cursors = []
                for function in ("place_hold", "draw", "capture"):
                    mine = [(item, answer) for name, item, answer in taken if name == function]
                    if mine:
                        cursor = await self.connection.execute(
                            f"SELECT code FROM ledger_{function}_batch(%s::jsonb)", [json.dumps([i for i, _ in mine])]
                        )
                        cursors.append((cursor, mine))
            for cursor, mine in cursors:
                for (code,), (_, answer) in zip(await cursor.fetchall(), mine, strict=True):
                    answer.set_result(code)


class Lanes:
    def __init__(self, lanes: list[_Lane]) -> None:
        self._lanes = lanes

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, lanes: int) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            opened = []
            for _ in range(lanes):
                connection = await psycopg.AsyncConnection.connect(
                    url, options="-c enable_seqscan=off -c jit=off", autocommit=True, prepare_threshold=0
                )
                opened.append(_Lane(await stack.enter_async_context(connection)))
            tasks = [asyncio.create_task(lane.run()) for lane in opened]
            yield cls(opened)
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def place_hold(self, *, wallet_id: UUID, hold_id: UUID, amount: int, expires_at: datetime) -> str:
        item = {"wallet_id": str(wallet_id), "hold_id": str(hold_id), "amount": amount, "expires_at": str(expires_at)}
        return await self._submit(wallet_id, "place_hold", item)

    async def draw(self, *, wallet_id: UUID, hold_id: UUID, draw_id: UUID, amount: int) -> str:
        return await self._submit(
            wallet_id, "draw", {"hold_id": str(hold_id), "draw_id": str(draw_id), "amount": amount}
        )

    async def capture(self, *, wallet_id: UUID, draw_id: UUID, used: int) -> str:
        return await self._submit(wallet_id, "capture", {"draw_id": str(draw_id), "used": used})

    async def _submit(self, wallet: UUID, function: str, item: dict[str, Any]) -> str:
        lane = self._lanes[wallet.int % len(self._lanes)]
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        lane.queue.append((function, item, answer))
        lane.arrived.set()
        return await answer
