"""A wallet as its owner sees it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, or_, select

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import grants, wallets
from pantheon.errors import NotFoundError
from pantheon.wallets.notice_balance import Notice, find_notice


@dataclass(frozen=True)
class GrantView:
    id: UUID
    source: str
    category: str
    amount: int
    remaining: int
    expires_at: datetime | None


@dataclass(frozen=True)
class WalletView:
    """Amounts in nanocredits. What has run out is not counted, even where nothing has touched the wallet since."""

    user_id: UUID
    available: int
    held: int
    debt: int
    grants: list[GrantView]
    """Those with something left, in the order in which they are used."""
    notice: Notice | None
    """That little of the last top-up is left."""

    @property
    def balance(self) -> int:
        return self.available + self.held - self.debt


async def view_wallet(database: Database, *, user_id: UUID) -> WalletView:
    """Raises NotFoundError for a user without a wallet. Writes nothing."""
    async with database.transaction() as tx:
        # One statement, so that balance and grants are of the same moment.
        rows = (await tx.execute(_QUERY, {"user_id": user_id, "now": clock.now()})).all()
        notice = await find_notice(tx, user_id)
    if not rows:
        raise NotFoundError("Wallet not found.")
    usable = [GrantView(*row[2:]) for row in rows if row.id is not None]
    return WalletView(user_id, sum(grant.remaining for grant in usable), rows[0].held, rows[0].debt, usable, notice)


_usable = and_(
    grants.c.wallet_id == wallets.c.id,
    grants.c.is_open,
    or_(grants.c.expires_at.is_(None), grants.c.expires_at > bindparam("now")),
)
_QUERY = (
    select(
        wallets.c.held,
        wallets.c.debt,
        grants.c.id,
        grants.c.source,
        grants.c.category,
        grants.c.amount,
        grants.c.remaining,
        grants.c.expires_at,
    )
    .select_from(wallets.outerjoin(grants, _usable))
    .where(wallets.c.user_id == bindparam("user_id"))
    .order_by(
        grants.c.priority,
        grants.c.expires_at.nulls_last(),
        grants.c.category == "paid",
        grants.c.created_at,
        grants.c.id,
    )
)
