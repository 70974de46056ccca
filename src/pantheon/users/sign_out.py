from uuid import UUID

from sqlalchemy import delete

from pantheon.db.engine import Database
from pantheon.db.tables import sessions


async def sign_out(database: Database, *, session_id: UUID) -> None:
    async with database.transaction() as tx:
        await tx.execute(delete(sessions).where(sessions.c.id == session_id))
