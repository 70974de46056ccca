from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Subquery, Text, and_, cast, func, select

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import api_keys, spend_counters, spend_limits, wallets
from pantheon.money.periods import period_from
from pantheon.users.api_key import ApiKey
from pantheon.users.rights import Scope


@dataclass(frozen=True)
class ApiKeyList:
    api_keys: list[ApiKey]
    total: int


async def list_api_keys(database: Database, *, user_id: UUID, limit: int = 50, offset: int = 0) -> ApiKeyList:
    """The user's keys that work, newest first."""
    mine = (api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    limits = _limits(user_id)
    page = (
        select(api_keys, limits.c.amount, limits.c.spent)
        .outerjoin(limits, limits.c.scope_id == cast(api_keys.c.id, Text))
        .where(*mine)
        .order_by(api_keys.c.id.desc())
    )
    async with database.transaction() as tx:
        total = await tx.scalar(select(func.count()).select_from(api_keys).where(*mine))
        rows = await tx.execute(page.limit(limit).offset(offset))
        return ApiKeyList([_api_key(row) for row in rows], total or 0)


def _limits(user_id: UUID) -> Subquery:
    """What each key may spend in a month, and what it has spent in this one."""
    this_month = and_(
        spend_counters.c.limit_id == spend_limits.c.id,
        spend_counters.c.period_from == period_from("month", clock.now()),
    )
    return (
        select(
            spend_limits.c.scope_id,
            func.min(spend_limits.c.amount).label("amount"),
            func.max(func.coalesce(spend_counters.c.spent, 0)).label("spent"),
        )
        .join(wallets, wallets.c.id == spend_limits.c.wallet_id)
        .outerjoin(spend_counters, this_month)
        .where(
            wallets.c.user_id == user_id,
            spend_limits.c.scope == "api_key",
            spend_limits.c.period == "month",
            spend_limits.c.ended_at.is_(None),
        )
        .group_by(spend_limits.c.scope_id)
        .subquery()
    )


def _api_key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=frozenset(map(Scope, row.scopes)),
        monthly_limit_nanocredits=row.amount,
        spent_this_month_nanocredits=row.spent,
        key_start=row.key_start,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )
