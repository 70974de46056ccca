"""Ends holds whose time is over: whoever placed them died or gave up. What they kept goes back to their wallets."""

from contextlib import suppress

from sqlalchemy import select

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import holds
from pantheon.errors import DatabaseBusyError
from pantheon.ledger import post

_BATCH = 500


async def expire_holds(database: Database) -> int:
    """Answers how many ended."""
    async with database.transaction() as tx:
        due = await tx.scalars(
            select(holds.c.id)
            .where(holds.c.state == "placed", holds.c.expires_at <= clock.now())
            .order_by(holds.c.expires_at)
            .limit(_BATCH)
        )
        ids = list(due)
    expired = 0
    for hold_id in ids:
        # A transaction each: a wallet that somebody holds locked is left for the next run and keeps no other waiting.
        with suppress(DatabaseBusyError):
            async with database.transaction() as tx:
                expired += (await post.expire_hold(tx, hold_id=hold_id)).code == "ok"
    return expired
