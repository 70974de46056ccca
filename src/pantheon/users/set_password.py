"""Storing a new password: what had to be true before it is stored differs, what follows from it does not."""

from uuid import UUID

from sqlalchemy import update

from pantheon.db.engine import Tx
from pantheon.db.tables import users
from pantheon.users.one_time_links import void_links
from pantheon.users.sessions import end_sessions


async def set_password(tx: Tx, user_id: UUID, password_hash: str, *, keep_session: UUID | None = None) -> None:
    """Ends every other session and every link of the user: whoever knew the old password is out."""
    await tx.execute(update(users).where(users.c.id == user_id).values(password_hash=password_hash))
    await end_sessions(tx, user_id, except_id=keep_session)
    await void_links(tx, user_id)
