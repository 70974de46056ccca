from uuid import UUID

from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.errors import ConflictError
from pantheon.users.one_time_links import Purpose, insert_link
from pantheon.users.user import lock_user, record_act


async def make_link(database: Database, purpose: Purpose, *, user_id: UUID, actor: Actor) -> str:
    """The token of a link to sign in or to choose a password, for an operator to pass on."""
    async with database.transaction() as tx:
        user = await lock_user(tx, user_id)
        if user.state != "active":
            raise ConflictError(f"This user is {user.state}.")
        token = await insert_link(tx, purpose, user_id=user_id)
        await record_act(tx, actor, "user.link_made", user_id, purpose=purpose)
    return token
