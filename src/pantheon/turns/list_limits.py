from uuid import UUID

from sqlalchemy import func, select

from pantheon.db.engine import Database
from pantheon.db.tables import spend_limits
from pantheon.turns.limits import Limit, read_limits
from pantheon.wallets.changes import wallet_of


async def list_limits(
    database: Database, *, user_id: UUID, limit: int = 50, offset: int = 0
) -> tuple[list[Limit], int]:
    """One page of the user's limits, whoever set them, newest first, and how many there are. Raises NotFoundError."""
    async with database.transaction() as tx:
        wallet_id = await wallet_of(tx, user_id)
        in_force = (spend_limits.c.wallet_id == wallet_id, spend_limits.c.ended_at.is_(None))
        total = await tx.scalar(select(func.count()).select_from(spend_limits).where(*in_force))
        return await read_limits(tx, wallet_id, limit=limit, offset=offset), total or 0
