from uuid import UUID

from sqlalchemy import update

from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.errors import ConflictError
from pantheon.users.one_time_links import void_links
from pantheon.users.sessions import end_sessions
from pantheon.users.user import lock_user, record_act


async def disable_user(database: Database, *, user_id: UUID, actor: Actor) -> None:
    """Nothing lets the user in any more. API keys work again once the user is enabled; sessions and links do not."""
    if actor.user_id == user_id:
        raise ConflictError("You cannot disable yourself.")
    async with database.transaction() as tx:
        user = await lock_user(tx, user_id)
        if user.state != "active":
            raise ConflictError(f"This user is {user.state}.")
        await tx.execute(update(users).where(users.c.id == user_id).values(state="disabled"))
        await end_sessions(tx, user_id)
        await void_links(tx, user_id)
        await record_act(tx, actor, "user.disabled", user_id)
