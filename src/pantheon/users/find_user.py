"""The user that an operator names."""

from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import users
from pantheon.errors import NotFoundError
from pantheon.users.email import normalise_email
from pantheon.users.user import COLUMNS, User, user_of


async def find_user(database: Database, email_or_id: str) -> User:
    """Raises NotFoundError."""
    async with database.transaction() as tx:
        try:
            user = await _find_by_id(tx, UUID(email_or_id))
        except ValueError:
            user = await find_by_email(tx, normalise_email(email_or_id))
    if user is None:
        raise NotFoundError("There is no user with this e-mail or id.")
    return user


async def _find_by_id(tx: Tx, user_id: UUID) -> User | None:
    row = (await tx.execute(select(*COLUMNS).where(users.c.id == user_id))).one_or_none()
    return None if row is None else user_of(row)


async def find_by_email(tx: Tx, address: str) -> User | None:
    row = (await tx.execute(select(*COLUMNS).where(users.c.email == address))).one_or_none()
    return None if row is None else user_of(row)
