"""What one call used and cost, and which grants paid for it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import calls, grant_moves, grants, receipts, top_ups, wallets
from pantheon.errors import NotFoundError
from pantheon.money.amounts import CREDIT_DECIMALS
from pantheon.money.rate_card import MULTIPLIER_DECIMALS, MULTIPLIER_ONE, UNITS, Meter

UNIT_PRICE_DECIMALS = CREDIT_DECIMALS + MULTIPLIER_DECIMALS
"""Of a line's `unit_price`, in credits for a million units."""

ROUNDING_DECIMALS = UNIT_PRICE_DECIMALS + 6
"""Of a line's `rounding`, in credits."""


@dataclass(frozen=True)
class Line:
    meter: str
    """A `Meter`, or what part of the call was not charged: `operator_overrun`, `enforcement_off`."""
    quantity: int
    unit_price: int | None
    """See UNIT_PRICE_DECIMALS; None for what is not measured."""
    amount: int
    """Nanocredits."""

    @property
    def rounding(self) -> int | None:
        """What the line was rounded up by: see ROUNDING_DECIMALS."""
        if self.unit_price is None:
            return None
        return self.amount * UNITS * MULTIPLIER_ONE - self.quantity * self.unit_price


@dataclass(frozen=True)
class PaidBy:
    """A grant that credits of the call came from, and how many."""

    grant_id: UUID
    source: str
    category: str
    amount: int
    top_up_id: UUID | None
    """The payment that brought the grant."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Amounts in nanocredits. Its id is that of the call."""

    id: UUID
    user_id: UUID
    model_alias: str
    rate_card_version: int
    quality: str
    """Who counted: `provider`, `provider_partial`, or `estimated` by us."""
    usage: dict[str, int]
    lines: list[Line]
    charged: int
    """The sum of the lines."""
    overrun: int
    grants: list[PaidBy]
    balance_after: int | None
    stopped_by: str | None
    provider_cost: int | None
    """Nano-dollars. For operators alone."""
    provider_cost_source: str | None
    attempts: list[dict[str, Any]]
    turn_id: UUID | None
    agent_id: UUID | None
    room_id: UUID | None
    api_key_id: UUID | None
    started_at: datetime | None
    created_at: datetime


async def view_receipt(database: Database, receipt_id: UUID, *, user_id: UUID | None) -> Receipt:
    """Raises NotFoundError for a receipt of somebody else than `user_id`. With None any is found: for operators."""
    async with database.transaction() as tx:
        query = (
            select(
                receipts,
                wallets.c.user_id,
                calls.c.turn_id,
                calls.c.agent_id,
                calls.c.room_id,
                calls.c.api_key_id,
                calls.c.started_at,
            )
            .join(wallets, wallets.c.id == receipts.c.wallet_id)
            .outerjoin(calls, calls.c.id == receipts.c.id)
            .where(receipts.c.id == receipt_id)
        )
        row = (await tx.execute(query)).one_or_none()
        if row is None or user_id not in (None, row.user_id):
            raise NotFoundError("Receipt not found.")
        return _receipt(row, await _paid_by(tx, row.transfer_id))


async def _paid_by(tx: Tx, transfer_id: UUID | None) -> list[PaidBy]:
    """In the order in which they are used."""
    rows = await tx.execute(
        select(grants.c.id, grants.c.source, grants.c.category, -grant_moves.c.held, top_ups.c.id)
        .join(grant_moves, grant_moves.c.grant_id == grants.c.id)
        .outerjoin(top_ups, top_ups.c.grant_id == grants.c.id)
        .where(grant_moves.c.transfer_id == transfer_id)
        .order_by(
            grants.c.priority,
            grants.c.expires_at.nulls_last(),
            grants.c.category == "paid",
            grants.c.created_at,
            grants.c.id,
        )
    )
    return [PaidBy(*row) for row in rows]


def _receipt(row: Any, paid_by: list[PaidBy]) -> Receipt:
    body = row.body
    return Receipt(
        id=row.id,
        user_id=row.user_id,
        model_alias=body["model_alias"],
        rate_card_version=body["rate_card_version"],
        quality=body["quality"],
        usage=body["usage"],
        lines=[_line(line) for line in body["lines"]],
        charged=row.charged,
        overrun=row.overrun,
        grants=paid_by,
        balance_after=row.balance_after,
        stopped_by=body["stopped_by"],
        provider_cost=body["provider_cost"],
        provider_cost_source=body["provider_cost_source"],
        attempts=body["attempts"],
        turn_id=row.turn_id,
        agent_id=row.agent_id,
        room_id=row.room_id,
        api_key_id=row.api_key_id,
        started_at=row.started_at,
        created_at=row.created_at,
    )


def _line(line: dict[str, Any]) -> Line:
    measured = line["meter"] in list(Meter)
    return Line(line["meter"], line["quantity"], line["unit_price"] if measured else None, line["amount"])
