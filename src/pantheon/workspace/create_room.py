from uuid import UUID

from sqlalchemy import insert, select

from pantheon import clock, ids
from pantheon.db.engine import Database
from pantheon.db.tables import rooms
from pantheon.errors import ConflictError
from pantheon.users.user import lock_user
from pantheon.workspace.paging import count
from pantheon.workspace.retention import KEPT
from pantheon.workspace.rooms import MAX_ROOMS, Mode, Room, living


async def create_room(database: Database, *, user_id: UUID, name: str, goal: str | None, mode: Mode) -> Room:
    now = clock.now()
    room = Room(ids.uuid7(), user_id, name, goal, mode, None, now, now)
    async with database.transaction() as tx:
        await lock_user(tx, user_id)
        if await count(tx, select(rooms.c.id).where(*living(user_id))) >= MAX_ROOMS:
            raise ConflictError(f"There are {MAX_ROOMS} rooms already. Delete one that is not used.")
        # Those that were deleted are kept for some days, with their files.
        if await count(tx, select(rooms.c.id).where(rooms.c.user_id == user_id)) >= 2 * MAX_ROOMS:
            raise ConflictError(
                f"Too many rooms were deleted within the last {KEPT.days} days, for which they are kept."
            )
        await tx.execute(insert(rooms).values(vars(room)))
    return room
