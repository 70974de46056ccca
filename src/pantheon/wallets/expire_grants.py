"""Books the expiry of grants on wallets that nobody touches. Those in use expire theirs in passing."""

from contextlib import suppress

from sqlalchemy import select

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import wallets
from pantheon.errors import DatabaseBusyError
from pantheon.ledger import post

_BATCH = 500


async def expire_grants(database: Database) -> int:
    """Answers how many wallets had something to expire."""
    async with database.transaction() as tx:
        due = await tx.scalars(
            select(wallets.c.id)
            .where(wallets.c.next_expiry_at <= clock.now())
            .order_by(wallets.c.next_expiry_at)
            .limit(_BATCH)
        )
        ids = list(due)
    expired = 0
    for wallet_id in ids:
        # A transaction each: a wallet that somebody holds locked is left for the next run and keeps no other waiting.
        with suppress(DatabaseBusyError):
            async with database.transaction() as tx:
                expired += (await post.expire(tx, wallet_id=wallet_id)).code == "ok"
    return expired
