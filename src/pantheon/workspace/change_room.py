"""Changes of a room by its owner."""

from typing import Any
from uuid import UUID

from sqlalchemy import case, update

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import rooms
from pantheon.errors import NotFoundError
from pantheon.workspace.rooms import COLUMNS, Mode, Room, RoomFields, living, room_of


async def change_room(database: Database, *, user_id: UUID, room_id: UUID, changes: RoomFields) -> Room:
    return await _change(database, user_id, room_id, **changes)


async def change_mode(database: Database, *, user_id: UUID, room_id: UUID, mode: Mode) -> Room:
    """From the next turn on. The present mode chosen again takes back a change that waits."""
    pending = case((rooms.c.current_mode != mode, mode), else_=None)
    return await _change(database, user_id, room_id, pending_mode=pending)


async def _change(database: Database, user_id: UUID, room_id: UUID, **values: Any) -> Room:
    async with database.transaction() as tx:
        changed = await tx.execute(
            update(rooms)
            .where(rooms.c.id == room_id, *living(user_id))
            .values(**values, updated_at=clock.now())
            .returning(*COLUMNS)
        )
        row = changed.mappings().one_or_none()
    if row is None:
        raise NotFoundError("Room not found.")
    return room_of(row)
