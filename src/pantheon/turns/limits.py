"""Limits of what a wallet spends in a period: altogether, or on one thing under it. The ledger keeps to them.

A user's own limits and those that operators set for the user stand side by side, and the tightest binds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, case, select

from pantheon import clock
from pantheon.db.engine import Tx
from pantheon.db.tables import agents, api_keys, rooms, spend_counters, spend_limits
from pantheon.errors import InvalidInputError, ModelNotFoundError, NotFoundError
from pantheon.ledger.post import SetBy
from pantheon.money.periods import PERIODS, Period, period_from, resets_at
from pantheon.turns.rate_cards import model_in_force

Scope = Literal["wallet", "agent", "room", "model", "api_key"]

NOUNS: dict[Scope, str] = {
    "wallet": "wallet",
    "agent": "agent",
    "room": "room",
    "model": "model",
    "api_key": "API key",
}

MAX_LIMITS = 100
"""That one user may set, and operators for one user: each draw looks at all of a wallet's."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Amounts in nanocredits, those of use for the present period."""

    scope: Scope
    scope_id: str | None
    """None for the wallet, which it is about as a whole."""
    name: str | None
    """Of what the id stands for."""
    period: Period
    set_by: SetBy
    amount: int
    reserved: int
    """By calls under way."""
    spent: int
    resets_at: datetime

    @property
    def remaining(self) -> int:
        return max(self.amount - self.reserved - self.spent, 0)


_OWNED = {
    "agent": (agents, agents.c.deleted_at),
    "room": (rooms, rooms.c.deleted_at),
    "api_key": (api_keys, api_keys.c.revoked_at),
}


def ledger_id(scope: Scope, scope_id: str | None) -> str:
    """As the ledger writes it: empty for the wallet. Raises InvalidInputError, and NotFoundError for what is no id."""
    if scope == "wallet":
        if scope_id:
            raise InvalidInputError("scope_id must be left out where the scope is wallet")
        return ""
    if not scope_id:
        raise InvalidInputError(f"scope_id must name the {NOUNS[scope]}")
    if scope == "model":
        return scope_id
    try:
        return str(UUID(scope_id))
    except ValueError:
        raise _not_found(scope) from None


async def check_is_theirs(tx: Tx, *, user_id: UUID, scope: Scope, id: str) -> None:
    """Raises NotFoundError for another's or a deleted one, and ModelNotFoundError for a model that cannot be called."""
    if scope == "model":
        if await model_in_force(tx, id) is None:
            raise ModelNotFoundError
    elif scope != "wallet":
        table, ended_at = _OWNED[scope]
        mine = select(table.c.id).where(table.c.id == UUID(id), table.c.user_id == user_id, ended_at.is_(None))
        if await tx.scalar(mine) is None:
            raise _not_found(scope)


def _not_found(scope: Scope) -> NotFoundError:
    noun = NOUNS[scope]
    return NotFoundError(f"{noun[0].upper()}{noun[1:]} not found.")


async def read_limits(
    tx: Tx, wallet_id: UUID, *conditions: ColumnElement[bool], limit: int | None = None, offset: int = 0
) -> list[Limit]:
    """Those in force, newest first."""
    now = clock.now()
    present = case({period: period_from(period, now) for period in PERIODS}, value=spend_limits.c.period)
    of_it = (spend_counters.c.limit_id == spend_limits.c.id, spend_counters.c.period_from == present)
    query = (
        select(spend_limits, spend_counters.c.reserved, spend_counters.c.spent)
        .outerjoin(spend_counters, and_(*of_it))
        .where(spend_limits.c.wallet_id == wallet_id, spend_limits.c.ended_at.is_(None), *conditions)
        .order_by(spend_limits.c.created_at.desc(), spend_limits.c.id.desc())
    )
    rows = (await tx.execute(query.limit(limit).offset(offset))).all()
    names = await _names(tx, rows)
    return [
        Limit(
            scope=row.scope,
            scope_id=row.scope_id or None,
            name=row.scope_id if row.scope == "model" else names.get(row.scope_id),
            period=row.period,
            set_by=row.set_by,
            amount=row.amount,
            reserved=row.reserved or 0,
            spent=row.spent or 0,
            resets_at=resets_at(row.period, now),
        )
        for row in rows
    ]


async def _names(tx: Tx, rows: Sequence[Row[Any]]) -> dict[str, str]:
    """Also of what was deleted since: its limit is there until somebody removes it."""
    found: dict[str, str] = {}
    for scope, (table, _) in _OWNED.items():
        if ids := [UUID(row.scope_id) for row in rows if row.scope == scope]:
            named = await tx.execute(select(table.c.id, table.c.name).where(table.c.id.in_(ids)))
            found |= {str(row.id): row.name for row in named}
    return found
