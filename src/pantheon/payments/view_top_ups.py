"""What a user sees of their top-ups."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from pantheon.db.engine import Database
from pantheon.db.tables import top_up_history, top_ups
from pantheon.money.top_up import State
from pantheon.payments.top_ups import TopUp, find_top_ups, get_top_up


@dataclass(frozen=True)
class Step:
    """One change of a top-up's state, and why."""

    state: str
    reason: str | None
    at: datetime


async def view_top_up(database: Database, *, user_id: UUID, top_up_id: UUID) -> tuple[TopUp, list[Step]]:
    """The top-up and its history, oldest first. Raises NotFoundError, also for another user's."""
    async with database.transaction() as tx:
        top_up = await get_top_up(tx, top_up_id, user_id=user_id)
        rows = await tx.execute(
            select(top_up_history.c.to_state, top_up_history.c.reason, top_up_history.c.at)
            .where(top_up_history.c.top_up_id == top_up_id)
            .order_by(top_up_history.c.at, top_up_history.c.id)
        )
        return top_up, [Step(*row) for row in rows]


async def list_top_ups(
    database: Database, *, user_id: UUID, limit: int, offset: int, conditions: tuple[Any, ...] = ()
) -> tuple[list[TopUp], int]:
    """One page, newest first, and how many there are in all."""
    mine = (top_ups.c.user_id == user_id, *conditions)
    async with database.transaction() as tx:
        total = await tx.scalar(select(func.count()).select_from(top_ups).where(*mine))
        return await find_top_ups(tx, *mine, limit=limit, offset=offset), total or 0


async def list_all_top_ups(
    database: Database, *, state: State | None = None, limit: int, offset: int = 0
) -> tuple[list[TopUp], int]:
    """For operators: one page of everybody's, newest first, and how many there are in all."""
    conditions = () if state is None else (top_ups.c.state == state,)
    async with database.transaction() as tx:
        total = await tx.scalar(select(func.count()).select_from(top_ups).where(*conditions))
        return await find_top_ups(tx, *conditions, limit=limit, offset=offset), total or 0
