from uuid import UUID

from sqlalchemy import update

from pantheon import clock
from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.db.tables import api_keys
from pantheon.errors import NotFoundError
from pantheon.users.user import record_act


async def revoke_api_key(database: Database, *, user_id: UUID, api_key_id: UUID, actor: Actor) -> None:
    """At once and for ever. Raises NotFoundError for a key that is not this user's or was revoked before."""
    async with database.transaction() as tx:
        revoked = await tx.scalar(
            update(api_keys)
            .where(api_keys.c.id == api_key_id, api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=clock.now())
            .returning(api_keys.c.id)
        )
        if revoked is None:
            raise NotFoundError("API key not found.")
        await record_act(tx, actor, "api_key.revoked", user_id, api_key_id=str(api_key_id))
