"""What becomes of calls, in their rows: how far each got, once a second, and how it ended, soon after.

Nobody waits for either. Should this process die first, the recovery knows a little less of a call, and from its receipt
how it ended. What a call cost is in its receipt alone.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog
from sqlalchemy import func, update

from pantheon import clock, failpoints, metrics
from pantheon.db.engine import Database
from pantheon.db.many_rows import given
from pantheon.db.tables import calls
from pantheon.turns.admit_call import Call
from pantheon.wallets.notice_balance import notice_balance

_PROGRESS_SECONDS = 1
_TOGETHER_SECONDS = 0.05
"""Calls that end within so long are written down in one commit, and not while their people wait for an answer."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class End:
    call: Call
    state: Literal["settled", "released", "refused"]
    outcome: str
    ended_at: datetime
    delivered_output: int = 0
    first_token_at: datetime | None = None


class CallJournal:
    """One of each process. `delivered` tells the tokens of output that each open call has handed on."""

    def __init__(self, database: Database, delivered: Callable[[], Mapping[UUID, int]]) -> None:
        self._database = database
        self._delivered = delivered
        self._ends: list[End] = []
        self._noted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    def begin(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep_progress()), asyncio.create_task(self._keep_ends())]

    def end(
        self,
        call: Call,
        state: Literal["settled", "released", "refused"],
        outcome: str,
        *,
        delivered_output: int = 0,
        first_token_at: datetime | None = None,
    ) -> None:
        self.begin()
        self._ends.append(
            End(
                call=call,
                state=state,
                outcome=outcome,
                ended_at=clock.now(),
                delivered_output=delivered_output,
                first_token_at=first_token_at,
            )
        )
        self._noted.set()
        metrics.CALLS.labels(outcome).inc()
        if first_token_at is not None:
            metrics.FIRST_TOKENS.observe((first_token_at - call.started_at).total_seconds())

    async def close(self) -> None:
        """Writes down what was told so far. Nothing may be told afterwards."""
        self._closing = True
        self._noted.set()
        if self._tasks:
            progress, ends = self._tasks
            await ends
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)

    async def _keep_ends(self) -> None:
        while not self._closing:
            await self._noted.wait()
            await asyncio.sleep(_TOGETHER_SECONDS)
            await self._write_ends()

    async def _write_ends(self) -> None:
        self._noted.clear()
        ends, self._ends = self._ends, []
        if ends:
            try:
                await _write_ends(self._database, ends)
                failpoints.reach("call.recorded")
            except Exception as error:
                _logger.warning("ends_not_recorded", calls=len(ends), error=type(error).__name__)

    async def _keep_progress(self) -> None:
        kept: Mapping[UUID, int] = {}
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            now = dict(self._delivered())
            changed = {id_: tokens for id_, tokens in now.items() if tokens != kept.get(id_, 0)}
            if not changed or await self._write_progress(changed):
                kept = now

    async def _write_progress(self, delivered: Mapping[UUID, int]) -> bool:
        rows = [{"id": id_, "delivered_output": tokens} for id_, tokens in delivered.items()]
        told = given(rows, calls.c.id, calls.c.delivered_output)
        further = func.greatest(calls.c.delivered_output, told.c.delivered_output)
        try:
            async with self._database.transaction() as tx:
                open_ones = (calls.c.id == told.c.id, calls.c.state == "open")
                await tx.execute(update(calls).where(*open_ones).values(delivered_output=further))
            failpoints.reach("call.progress")
        except Exception as error:
            _logger.warning("progress_not_recorded", calls=len(rows), error=type(error).__name__)
            return False
        return True


async def _write_ends(database: Database, ends: list[End]) -> None:
    names = ("state", "outcome", "delivered_output", "first_token_at", "ended_at")
    rows = [{"id": end.call.id} | {name: getattr(end, name) for name in names} for end in ends]
    told = given(rows, calls.c.id, *(calls.c[name] for name in names))
    async with database.transaction() as tx:
        open_ones = (calls.c.id == told.c.id, calls.c.state == "open")
        await tx.execute(update(calls).where(*open_ones).values({name: told.c[name] for name in names}))
        # In one order everywhere, so that two processes never wait for each other.
        for wallet_id in sorted({end.call.wallet_id for end in ends if end.state == "settled"}):
            await notice_balance(tx, wallet_id)
