"""What a user sees of their sessions."""

from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import chat_sessions
from pantheon.workspace.paging import page
from pantheon.workspace.sessions import (
    COLUMNS,
    Place,
    Session,
    get_session,
    living,
    require_place,
    restorable,
    session_of,
)


async def view_session(database: Database, *, user_id: UUID, session_id: UUID) -> Session:
    async with database.transaction() as tx:
        return await get_session(tx, session_id, user_id=user_id)


async def list_sessions(
    database: Database, *, user_id: UUID, place: Place, deleted: bool = False, limit: int, offset: int = 0
) -> tuple[list[Session], int]:
    """One page, newest first, and how many there are in all. `deleted`: of those that can be restored."""
    condition = restorable(user_id) if deleted else living(user_id)
    query = select(*COLUMNS).where(place.is_here, *condition)
    query = query.order_by(chat_sessions.c.created_at.desc(), chat_sessions.c.id.desc())
    async with database.transaction() as tx:
        await require_place(tx, place, user_id=user_id)
        rows, total = await page(tx, query, limit=limit, offset=offset)
    return [session_of(row) for row in rows], total
