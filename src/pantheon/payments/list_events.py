"""Stripe's events as operators see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import func, or_, select, true

from pantheon.db.engine import Database
from pantheon.db.tables import inbox_events
from pantheon.errors import NotFoundError

EventState = Literal["received", "failed", "done", "ignored", "parked", "dead", "stuck"]
"""As stored, and two more: `failed` waits for another attempt; `stuck` is all that a person should look at."""


@dataclass(frozen=True)
class EventView:
    id: UUID
    event_id: str
    type: str
    state: str
    """`failed` for one that is received and had an attempt that failed."""
    outcome: str | None
    attempts: int
    received_at: datetime
    next_attempt_at: datetime


_failed = (inbox_events.c.state == "received") & inbox_events.c.last_error.is_not(None)
_CONDITIONS = {"failed": _failed, "stuck": or_(_failed, inbox_events.c.state.in_(("parked", "dead")))}


async def list_events(
    database: Database, *, state: EventState | None = None, limit: int, offset: int = 0
) -> tuple[list[EventView], int]:
    """One page, newest first, and how many there are in all."""
    condition = true() if state is None else _CONDITIONS.get(state, inbox_events.c.state == state)
    async with database.transaction() as tx:
        total = await tx.scalar(select(func.count()).select_from(inbox_events).where(condition))
        rows = await tx.execute(
            select(inbox_events)
            .where(condition)
            .order_by(inbox_events.c.received_at.desc(), inbox_events.c.id.desc())
            .limit(limit)
            .offset(offset)
        )
        events = [
            EventView(
                id=row.id,
                event_id=row.event_id,
                type=row.type,
                state="failed" if row.state == "received" and row.last_error else row.state,
                outcome=row.outcome or row.last_error,
                attempts=row.attempts,
                received_at=row.received_at,
                next_attempt_at=row.next_attempt_at,
            )
            for row in rows
        ]
        return events, total or 0


async def find_event(database: Database, name: str) -> UUID:
    """Our id of the event with this id, which is ours or Stripe's. Raises NotFoundError."""
    try:
        condition = inbox_events.c.id == UUID(name)
    except ValueError:
        condition = inbox_events.c.event_id == name
    async with database.transaction() as tx:
        query = select(inbox_events.c.id).where(condition).order_by(inbox_events.c.received_at.desc()).limit(1)
        found = await tx.scalar(query)
    if found is None:
        raise NotFoundError("Event not found.")
    return UUID(str(found))
