from uuid import UUID

from sqlalchemy import update

from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.errors import ConflictError
from pantheon.users.rights import Role
from pantheon.users.user import lock_user, record_act


async def set_role(database: Database, *, user_id: UUID, role: Role, actor: Actor) -> None:
    if actor.user_id == user_id:
        # So there is always an owner left: the one who is acting.
        raise ConflictError("You cannot change your own role.")
    async with database.transaction() as tx:
        user = await lock_user(tx, user_id)
        await tx.execute(update(users).where(users.c.id == user_id).values(role=role))
        await record_act(tx, actor, "user.role_set", user_id, before=user.role, after=role)
