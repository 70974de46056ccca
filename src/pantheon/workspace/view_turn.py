"""One turn as its user sees it: what became of it, and what it cost."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import calls, chat_sessions, receipts, turn_events, turns
from pantheon.errors import NotFoundError
from pantheon.workspace.sessions import living
from pantheon.workspace.transcript import Turn
from pantheon.workspace.turn_events import LAST


@dataclass(frozen=True)
class TurnView:
    turn: Turn
    model_alias_used: str
    """Of the agent that spoke first."""
    receipt_ids: list[UUID]
    """Of its calls, in their order."""
    end: dict[str, Any] | None
    """What its last event told: totals, the balance after it, or what went wrong. None while it runs."""
    end_seq: int | None
    """The number of that event."""


async def view_turn(database: Database, *, user_id: UUID, turn_id: UUID) -> TurnView:
    """Raises NotFoundError, also for another user's turn."""
    columns = [turns.c[name] for name in Turn.__dataclass_fields__]
    mine = (turns.c.id == turn_id, *living(user_id))
    query = select(*columns, turns.c.roster).join(chat_sessions, chat_sessions.c.id == turns.c.session_id).where(*mine)
    ended = select(turn_events.c.data, turn_events.c.seq).where(
        turn_events.c.turn_id == turn_id, turn_events.c.event.in_(LAST)
    )
    paid = select(receipts.c.id).join(calls, calls.c.id == receipts.c.id).where(calls.c.turn_id == turn_id)
    async with database.transaction() as tx:
        row = (await tx.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("Turn not found.")
        end, end_seq = (await tx.execute(ended)).one_or_none() or (None, None)
        receipt_ids = list(await tx.scalars(paid.order_by(receipts.c.created_at, receipts.c.id)))
    turn = Turn(**{name: row[name] for name in Turn.__dataclass_fields__})
    return TurnView(turn, row["roster"][0]["model_alias"], receipt_ids, end, end_seq)
