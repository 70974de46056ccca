"""A session: one conversation, in a room or with one agent alone. (Those of people who signed in are in `users/`.)"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, exists, or_, select

from pantheon.db.engine import Tx
from pantheon.db.tables import agents, chat_sessions, rooms
from pantheon.errors import NotFoundError
from pantheon.workspace import agents as all_agents
from pantheon.workspace import retention
from pantheon.workspace import rooms as all_rooms
from pantheon.workspace.agents import get_agent
from pantheon.workspace.rooms import get_room


@dataclass(frozen=True)
class Session:
    id: UUID
    user_id: UUID
    room_id: UUID | None
    agent_id: UUID | None
    created_at: datetime


@dataclass(frozen=True)
class Place:
    """Where a session is held: in a room, or with an agent."""

    room_id: UUID | None = None
    agent_id: UUID | None = None

    def __post_init__(self) -> None:
        assert (self.room_id is None) != (self.agent_id is None)

    @property
    def is_here(self) -> ColumnElement[bool]:
        if self.room_id is not None:
            return chat_sessions.c.room_id == self.room_id
        return chat_sessions.c.agent_id == self.agent_id


COLUMNS = [column for column in chat_sessions.c if column.name != "deleted_at"]


def session_of(row: RowMapping) -> Session:
    return Session(**row)


def living(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """A session lives no longer than the room or the agent that it belongs to."""
    return chat_sessions.c.deleted_at.is_(None), *_of(user_id)


def restorable(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return retention.restorable(chat_sessions), *_of(user_id)


def _of(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    in_room = exists().where(rooms.c.id == chat_sessions.c.room_id, *all_rooms.living(user_id))
    with_agent = exists().where(agents.c.id == chat_sessions.c.agent_id, *all_agents.living(user_id))
    return chat_sessions.c.user_id == user_id, or_(in_room, with_agent)


async def get_session(tx: Tx, session_id: UUID, *, user_id: UUID, lock: bool = False) -> Session:
    """Raises NotFoundError, also for another user's and for a deleted one. `lock` keeps others from changing it."""
    query: Any = select(*COLUMNS).where(chat_sessions.c.id == session_id, *living(user_id))
    row = (await tx.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("Session not found.")
    return session_of(row)


async def require_place(tx: Tx, place: Place, *, user_id: UUID) -> None:
    """Raises NotFoundError where the room or the agent is not the user's, or was deleted."""
    if place.room_id is not None:
        await get_room(tx, place.room_id, user_id=user_id)
    if place.agent_id is not None:
        await get_agent(tx, place.agent_id, user_id=user_id)
