from sqlalchemy import select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import users
from pantheon.errors import NotFoundError
from pantheon.users.email import normalise_email
from pantheon.users.user import COLUMNS, User, user_of


async def find_user(database: Database, email: str) -> User:
    """Raises NotFoundError."""
    async with database.transaction() as tx:
        user = await find_by_email(tx, normalise_email(email))
    if user is None:
        raise NotFoundError("There is no user with this e-mail.")
    return user


async def find_by_email(tx: Tx, address: str) -> User | None:
    row = (await tx.execute(select(*COLUMNS).where(users.c.email == address))).one_or_none()
    return None if row is None else user_of(row)
