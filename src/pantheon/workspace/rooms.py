"""A room: where agents work on something together, in one of three modes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, select

from pantheon.db.engine import Tx
from pantheon.db.tables import rooms
from pantheon.errors import NotFoundError
from pantheon.workspace import retention

Mode = Literal["manual", "roundtable", "orchestrator"]

MAX_ROOMS = 1000
"""That one user may have."""


@dataclass(frozen=True)
class Room:
    id: UUID
    user_id: UUID
    name: str
    goal: str | None
    current_mode: Mode
    pending_mode: Mode | None
    """Takes over when the next turn begins."""
    created_at: datetime
    updated_at: datetime


class RoomFields(TypedDict, total=False):
    name: str
    goal: str | None


COLUMNS = [column for column in rooms.c if column.name != "deleted_at"]


def room_of(row: RowMapping) -> Room:
    return Room(**row)


def living(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return rooms.c.user_id == user_id, rooms.c.deleted_at.is_(None)


def restorable(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return rooms.c.user_id == user_id, retention.restorable(rooms)


async def get_room(tx: Tx, room_id: UUID, *, user_id: UUID, lock: bool = False) -> Room:
    """Raises NotFoundError, also for another user's and for a deleted one. `lock` keeps others from changing it."""
    query: Any = select(*COLUMNS).where(rooms.c.id == room_id, *living(user_id))
    row = (await tx.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("Room not found.")
    return room_of(row)
