"""What a user sees of their rooms."""

from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import rooms
from pantheon.workspace.paging import page
from pantheon.workspace.rooms import COLUMNS, Room, get_room, living, restorable, room_of


async def view_room(database: Database, *, user_id: UUID, room_id: UUID) -> Room:
    async with database.transaction() as tx:
        return await get_room(tx, room_id, user_id=user_id)


async def list_rooms(
    database: Database, *, user_id: UUID, deleted: bool = False, limit: int, offset: int = 0
) -> tuple[list[Room], int]:
    """One page, newest first, and how many there are in all. `deleted`: of those that can be restored."""
    condition = restorable(user_id) if deleted else living(user_id)
    query = select(*COLUMNS).where(*condition).order_by(rooms.c.created_at.desc(), rooms.c.id.desc())
    async with database.transaction() as tx:
        rows, total = await page(tx, query, limit=limit, offset=offset)
    return [room_of(row) for row in rows], total
