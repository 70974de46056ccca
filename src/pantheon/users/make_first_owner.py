from sqlalchemy import select

from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.users.create_user import create_user
from pantheon.users.make_link import make_link
from pantheon.users.one_time_links import Purpose
from pantheon.users.rights import Role

_EMAIL = "owner@localhost"
_ACTOR = Actor(None, "local start")


async def link_for_local_owner(database: Database) -> str:
    """The token of a sign-in link for the oldest owner, who is made first where there is none. Only for local."""
    async with database.transaction() as tx:
        oldest = select(users.c.id).where(users.c.role == Role.OWNER, users.c.state == "active").order_by(users.c.id)
        owner_id = await tx.scalar(oldest.limit(1))
    if owner_id is None:
        owner_id = (await create_user(database, email=_EMAIL, role=Role.OWNER, actor=_ACTOR)).id
    return await make_link(database, Purpose.SIGN_IN, user_id=owner_id, actor=_ACTOR)
