"""What was said in a session: its turns, and the messages of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, Select, select

from pantheon.db.engine import Database
from pantheon.db.tables import messages, turns
from pantheon.workspace.paging import page
from pantheon.workspace.sessions import get_session

TurnMode = Literal["manual", "roundtable", "orchestrator", "direct"]
TurnStatus = Literal["queued", "running", "completed", "failed", "stopped"]
Role = Literal["user", "assistant", "tool"]
MessageState = Literal["streaming", "completed", "failed", "stopped"]


@dataclass(frozen=True)
class Turn:
    id: UUID
    session_id: UUID
    turn_index: int
    mode: TurnMode
    user_input: str
    assistant_output: str | None
    status: TurnStatus
    error_code: str | None
    model_alias_override: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Message:
    id: UUID
    turn_id: UUID
    position: int
    role: Role
    agent_id: UUID | None
    agent_name: str | None
    """As it was then, whatever has become of the agent."""
    content: str
    state: MessageState
    created_at: datetime


async def list_turns(
    database: Database, *, user_id: UUID, session_id: UUID, limit: int, offset: int = 0
) -> tuple[list[Turn], int]:
    """One page, oldest first, and how many there are in all."""
    columns = [turns.c[name] for name in Turn.__dataclass_fields__]
    query = select(*columns).where(turns.c.session_id == session_id).order_by(turns.c.turn_index)
    rows, total = await _page(database, query, user_id, session_id, limit=limit, offset=offset)
    return [Turn(**row) for row in rows], total


async def list_messages(
    database: Database, *, user_id: UUID, session_id: UUID, limit: int, offset: int = 0
) -> tuple[list[Message], int]:
    """One page, oldest first, and how many there are in all."""
    columns = [messages.c[name] for name in Message.__dataclass_fields__]
    query = (
        select(*columns)
        .join(turns, turns.c.id == messages.c.turn_id)
        .where(messages.c.session_id == session_id)
        .order_by(turns.c.turn_index, messages.c.position)
    )
    rows, total = await _page(database, query, user_id, session_id, limit=limit, offset=offset)
    return [Message(**row) for row in rows], total


async def _page(
    database: Database, query: Select[Any], user_id: UUID, session_id: UUID, *, limit: int, offset: int
) -> tuple[list[RowMapping], int]:
    async with database.transaction() as tx:
        await get_session(tx, session_id, user_id=user_id)
        rows, total = await page(tx, query, limit=limit, offset=offset)
    return list(rows), total
