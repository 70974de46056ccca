from uuid import UUID

from sqlalchemy import insert, select

from pantheon import clock, ids
from pantheon.db.engine import Database
from pantheon.db.tables import chat_sessions
from pantheon.errors import ConflictError
from pantheon.users.user import lock_user
from pantheon.workspace.paging import count
from pantheon.workspace.sessions import Place, Session, living, require_place

MAX_SESSIONS = 1000
"""That one room or one agent may have."""


async def start_session(database: Database, *, user_id: UUID, place: Place) -> Session:
    session = Session(ids.uuid7(), user_id, place.room_id, place.agent_id, clock.now())
    async with database.transaction() as tx:
        await lock_user(tx, user_id)
        await require_place(tx, place, user_id=user_id)
        if await count(tx, select(chat_sessions.c.id).where(place.is_here, *living(user_id))) >= MAX_SESSIONS:
            raise ConflictError(f"There are {MAX_SESSIONS} sessions here already. Delete one that is not used.")
        await tx.execute(insert(chat_sessions).values(vars(session)))
    return session
