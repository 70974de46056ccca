"""The ledger's fast way in, for what happens many times a second: holds, draws, captures and releases.

A lane is one connection. While it commits, what arrives queues up, and all of that is its next batch: one commit for
many postings, and no timer. A wallet always has the same lane, so batches of one process never wait for each other's
locks. Here the posting is the whole transaction; `post.py` joins the caller's.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import psycopg
import structlog

from pantheon import failpoints
from pantheon.db.engine import BUSY, is_connection_failure
from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError, InvariantError
from pantheon.ledger.post import Posting

_BATCH = 512
_RECONNECT_SECONDS = 0.1
# Plans made while the tables were empty would scan them for ever. And nobody waits long for the lock of one wallet.
_OPTIONS = "-c enable_seqscan=off -c jit=off -c lock_timeout=2s"
_QUERY = b"SELECT * FROM ledger_lane_batch(%s::jsonb)"

_logger = structlog.get_logger(__name__)


class _Item(NamedTuple):
    operation: Literal["place_hold", "draw", "capture", "settle", "settle_unfunded", "release"]
    wallet_id: UUID
    hold_id: UUID | None = None
    draw_id: UUID | None = None
    amount: int | None = None
    expires_at: datetime | None = None
    scopes: str | None = None
    receipt: str | None = None


@dataclass(eq=False)
class _Order:
    item: _Item
    waiting: list[asyncio.Future[Posting]] = field(default_factory=list)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits: not when it is answered, or when all gave up."""
        return not all(future.done() for future in self.waiting)

    def answer(self, posting: Posting) -> None:
        """Those that joined get what the ledger answers to the same call again."""
        for future in self.waiting:
            if not future.done():
                future.set_result(posting)
            posting = _again(self.item, posting)

    def refuse(self, cause: Exception) -> None:
        for future in self.waiting:
            if not future.done():
                busy = isinstance(cause, BUSY)
                refusal = DatabaseBusyError(retry_after=1) if busy else InvariantError("the ledger failed at a posting")
                refusal.__cause__ = cause
                future.set_exception(refusal)


class Lanes:
    """`async with Lanes(url) as lanes`, or `await lanes.close()` at the end. Connections are opened when first needed.

    Every method answers as its namesake in `post.py`, or raises DatabaseBusyError or DatabaseUnavailableError. Then the
    posting may have been done all the same, so repeat it with the same id; an unknown hold ends with its time.
    """

    def __init__(self, url: str, *, lanes: int = 2, most_waiting: int = 4096, patience_seconds: int = 5) -> None:
        self._lanes = [_Lane(url, most_waiting) for _ in range(lanes)]
        self._patience = patience_seconds

    async def __aenter__(self) -> "Lanes":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def place_hold(self, *, wallet_id: UUID, hold_id: UUID, amount: int, expires_at: datetime) -> Posting:
        return await self._submit(_Item("place_hold", wallet_id, hold_id=hold_id, amount=amount, expires_at=expires_at))

    async def draw(
        self, *, wallet_id: UUID, hold_id: UUID, draw_id: UUID, amount: int, scopes: Mapping[str, str] | None = None
    ) -> Posting:
        told = json.dumps(scopes, sort_keys=True) if scopes else None
        return await self._submit(
            _Item("draw", wallet_id, hold_id=hold_id, draw_id=draw_id, amount=amount, scopes=told)
        )

    async def capture(self, *, wallet_id: UUID, draw_id: UUID, used: int) -> Posting:
        return await self._submit(_Item("capture", wallet_id, draw_id=draw_id, amount=used))

    async def settle(self, *, wallet_id: UUID, draw_id: UUID, used: int, receipt: Mapping[str, Any]) -> Posting:
        told = json.dumps(receipt)
        return await self._submit(_Item("settle", wallet_id, draw_id=draw_id, amount=used, receipt=told))

    async def settle_unfunded(
        self, *, wallet_id: UUID, call_id: UUID, beyond: int, receipt: Mapping[str, Any]
    ) -> Posting:
        told = json.dumps(receipt)
        return await self._submit(_Item("settle_unfunded", wallet_id, draw_id=call_id, amount=beyond, receipt=told))

    async def release(self, *, wallet_id: UUID, hold_id: UUID) -> Posting:
        return await self._submit(_Item("release", wallet_id, hold_id=hold_id))

    async def close(self) -> None:
        """Takes nothing more, and lets what is queued be done."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))

    async def _submit(self, item: _Item) -> Posting:
        lane = self._lanes[item.wallet_id.int % len(self._lanes)]
        try:
            async with asyncio.timeout(self._patience):
                return await lane.put(item)
        except TimeoutError:
            raise DatabaseBusyError(
                "The database did not answer in time. Please try again with the same id.", retry_after=1
            ) from None


class _Lane:
    def __init__(self, url: str, most_waiting: int) -> None:
        self._url = url
        self._most_waiting = most_waiting
        self._queue: deque[_Order] = deque()
        self._queued: dict[_Item, _Order] = {}
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None

    def put(self, item: _Item) -> asyncio.Future[Posting]:
        if self._closing:
            raise DatabaseUnavailableError("The service is shutting down. Please try again.", retry_after=1)
        order = self._queued.get(item)
        if order is None:
            if len(self._queue) >= self._most_waiting:
                raise DatabaseBusyError(retry_after=1)
            order = self._queued[item] = _Order(item)
            self._queue.append(order)
            self._arrived.set()
        answer: asyncio.Future[Posting] = asyncio.get_running_loop().create_future()
        order.waiting.append(answer)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return answer

    async def close(self) -> None:
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        await self._disconnect()

    async def _run(self) -> None:
        while self._queue or not self._closing:
            await self._arrived.wait()
            batch = self._take()
            try:
                await self._settle(batch)
            except psycopg.Error as error:
                # Whether it was committed is unknown. The ids tell: what was done answers that it is a duplicate.
                _logger.warning("lane_reconnects", error=type(error).__name__, unanswered=len(batch))
                self._queue.extendleft(reversed(batch))
                self._arrived.set()
                await self._disconnect()
                await asyncio.sleep(_RECONNECT_SECONDS)

    def _take(self) -> list[_Order]:
        batch: list[_Order] = []
        while self._queue and len(batch) < _BATCH:
            order = self._queue.popleft()
            # From here on nobody may join: they would be answered with what was true before they asked.
            if self._queued.get(order.item) is order:
                del self._queued[order.item]
            if order.is_wanted:
                batch.append(order)
        if not self._queue and not self._closing:
            self._arrived.clear()
        return batch

    async def _settle(self, batch: list[_Order]) -> None:
        """Answers each. Where the database refuses the batch, each wallet is tried alone, and then each item."""
        try:
            postings = await self._ask([order.item for order in batch]) if batch else []
        except Exception as error:
            # Whatever it is: a lane that died of it would answer nobody any more.
            if is_connection_failure(error):
                raise
            parts = list(_by_wallet(batch))
            if len(parts) == 1 and not isinstance(error, BUSY):
                parts = [[order] for order in batch]
            if len(parts) == 1:
                for order in batch:
                    order.refuse(error)
                return
            for part in parts:
                await self._settle(part)
        else:
            if batch:
                failpoints.reach("lane.committed")
            for order, posting in zip(batch, postings, strict=True):
                order.answer(posting)

    async def _ask(self, items: list[_Item]) -> list[Posting]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, options=_OPTIONS, application_name="pantheon-lane", connect_timeout=2,
                tcp_user_timeout=5000, autocommit=True,
            )  # fmt: skip
        body = "[" + ",".join(map(_as_json, items)) + "]"
        cursor = await self._connection.execute(_QUERY, [body], prepare=True)
        return [Posting(*row) for row in await cursor.fetchall()]

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _as_json(item: _Item) -> str:
    """What is JSON already is put in as it is."""
    *plain, scopes, receipt = item
    told = json.dumps(dict(zip(_Item._fields, plain, strict=False)), default=str)
    return f'{told[:-1]}, "scopes": {scopes or "null"}, "receipt": {receipt or "null"}}}'


def _by_wallet(batch: list[_Order]) -> Iterable[list[_Order]]:
    wallets: dict[UUID, list[_Order]] = {}
    for order in batch:
        wallets.setdefault(order.item.wallet_id, []).append(order)
    return wallets.values()


def _again(item: _Item, posting: Posting) -> Posting:
    """What the ledger answers when the same call comes again."""
    if posting.code != "ok":
        return posting
    if item.operation == "release":
        return replace(posting, code="unchanged", event_id=None, transfer_id=None, amount=0)
    return replace(posting, code="duplicate", event_id=None, transfer_id=None)
