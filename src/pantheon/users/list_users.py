from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, true

from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.users.user import COLUMNS, User, user_of


@dataclass(frozen=True)
class UserList:
    users: list[User]
    total: int


async def list_users(database: Database, *, search: str = "", limit: int = 50, offset: int = 0) -> UserList:
    """Newest first. `search` is a part of the e-mail or the whole id."""
    wanted = search.strip().lower()
    if not wanted.isprintable():
        return UserList([], 0)
    matches = _matches(wanted)
    async with database.transaction() as tx:
        total = await tx.scalar(select(func.count()).select_from(users).where(matches))
        page = select(*COLUMNS).where(matches).order_by(users.c.created_at.desc(), users.c.id.desc())
        rows = await tx.execute(page.limit(limit).offset(offset))
        return UserList([user_of(row) for row in rows], total or 0)


def _matches(wanted: str) -> ColumnElement[bool]:
    if not wanted:
        return true()
    try:
        return users.c.id == UUID(wanted)
    except ValueError:
        return func.strpos(users.c.email, wanted) > 0
