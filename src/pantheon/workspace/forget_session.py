from uuid import UUID

from sqlalchemy import delete

from pantheon.db.engine import Database
from pantheon.db.tables import chat_sessions


async def forget_session(database: Database, session_id: UUID) -> None:
    """Ends it with all that was said in it, which nobody can restore. No turn may be under way in it."""
    async with database.transaction() as tx:
        await tx.execute(delete(chat_sessions).where(chat_sessions.c.id == session_id))
