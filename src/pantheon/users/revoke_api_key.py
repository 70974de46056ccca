from itertools import product
from uuid import UUID

from sqlalchemy import select, update

from pantheon import clock
from pantheon.audit import Actor
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import api_keys, wallets
from pantheon.errors import NotFoundError
from pantheon.ledger import post
from pantheon.ledger.post import SETTERS
from pantheon.money.periods import PERIODS
from pantheon.users.user import record_act


async def revoke_api_key(database: Database, *, user_id: UUID, api_key_id: UUID, actor: Actor) -> None:
    """At once and for ever, and with it its limits.

    Raises NotFoundError for a key that is not this user's or was revoked before.
    """
    async with database.transaction() as tx:
        revoked = await tx.scalar(
            update(api_keys)
            .where(api_keys.c.id == api_key_id, api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=clock.now())
            .returning(api_keys.c.id)
        )
        if revoked is None:
            raise NotFoundError("API key not found.")
        await _end_limits(tx, user_id, api_key_id)
        await record_act(tx, actor, "api_key.revoked", user_id, api_key_id=str(api_key_id))


async def _end_limits(tx: Tx, user_id: UUID, api_key_id: UUID) -> None:
    wallet_id = (await tx.scalars(select(wallets.c.id).where(wallets.c.user_id == user_id))).one()
    for period, set_by in product(PERIODS, SETTERS):
        await post.end_spend_limit(
            tx, wallet_id=wallet_id, scope="api_key", scope_id=str(api_key_id), period=period, set_by=set_by
        )
