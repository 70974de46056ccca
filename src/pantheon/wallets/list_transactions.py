"""The movements of a wallet as people read them: one line for each transfer that changed the balance."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import Row, Select, case, func, select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import receipts, transfer_notes, transfers, wallets
from pantheon.errors import NotFoundError
from pantheon.money.chart import KINDS, WALLET_ACCOUNTS

PublicKind = Literal["grant", "debit", "refund", "expiry", "adjustment", "reversal"]

PUBLIC_KINDS: tuple[str, ...] = get_args(PublicKind)


@dataclass(frozen=True)
class Transaction:
    id: UUID
    kind: str
    amount: int
    """Nanocredits, negative where they went out of the wallet."""
    balance_after: int
    actor: UUID | None
    """Who did it; None for the system itself, as after a payment."""
    note: str | None
    reference_id: str
    receipt_id: UUID | None
    """Of the call that used these credits."""
    created_at: datetime


async def list_transactions(
    database: Database, *, user_id: UUID, kind: str | None = None, limit: int, offset: int = 0
) -> tuple[list[Transaction], int]:
    """One page, newest first, and how many there are in all. Raises NotFoundError for a user without a wallet."""
    async with database.transaction() as tx:
        wallet_id = await tx.scalar(select(wallets.c.id).where(wallets.c.user_id == user_id))
        if wallet_id is None:
            raise NotFoundError("Wallet not found.")
        return await _page(tx, wallet_id, kind, limit=limit, offset=offset)


async def _page(tx: Tx, wallet_id: UUID, kind: str | None, *, limit: int, offset: int) -> tuple[list[Transaction], int]:
    shown = [code for code, rule in KINDS.items() if rule.public is not None and kind in (None, rule.public)]
    condition = (transfers.c.wallet_id == wallet_id, transfers.c.kind.in_(shown))
    total = await tx.scalar(select(func.count()).select_from(transfers).where(*condition))
    query = select_transactions().where(*condition).order_by(transfers.c.wallet_seq.desc())
    rows = await tx.execute(query.limit(limit).offset(offset))
    return [transaction_of(row) for row in rows], total or 0


# A transfer changes the balance when one of its accounts is the wallet's and the other is not; a credit raises it.
_inward = case((transfers.c.credit_account.in_(WALLET_ACCOUNTS), True), else_=False)


def select_transactions() -> Select[Any]:
    """Transfers with what people read beside them, for `transaction_of`."""
    return (
        select(transfers, transfer_notes.c.note, receipts.c.id.label("receipt_id"), _inward.label("inward"))
        .outerjoin(transfer_notes, transfer_notes.c.event_id == transfers.c.event_id)
        .outerjoin(receipts, receipts.c.transfer_id == transfers.c.id)
    )


def transaction_of(row: Row[Any]) -> Transaction:
    return Transaction(
        id=row.id,
        kind=KINDS[row.kind].public or "",
        amount=row.amount if row.inward else -row.amount,
        balance_after=balance_after(row),
        actor=row.actor,
        note=row.note,
        reference_id=row.reference_id,
        receipt_id=row.receipt_id,
        created_at=row.recorded_at,
    )


def balance_after(row: Row[Any]) -> int:
    balance: int = row.available_after + row.held_after - row.debt_after
    return balance
