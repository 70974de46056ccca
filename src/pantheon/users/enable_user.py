from uuid import UUID

from sqlalchemy import update

from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.errors import ConflictError
from pantheon.users.user import lock_user, record_act


async def enable_user(database: Database, *, user_id: UUID, actor: Actor) -> None:
    async with database.transaction() as tx:
        user = await lock_user(tx, user_id)
        if user.state != "disabled":
            raise ConflictError(f"This user is {user.state}.")
        await tx.execute(update(users).where(users.c.id == user_id).values(state="active"))
        await record_act(tx, actor, "user.enabled", user_id)
