"""A month of a wallet: the balance it began with, what moved, and the balance it ended with.

Setting credits aside for work, and giving them back, moves nothing: what is held belongs to the balance.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select, text

from pantheon import clock
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import transfers, wallets
from pantheon.errors import NotFoundError
from pantheon.money.chart import KINDS
from pantheon.wallets.list_transactions import Transaction, balance_after, select_transactions, transaction_of

_AT_ONCE = 1000
_SHOWN = [code for code, rule in KINDS.items() if rule.public is not None]


@dataclass(frozen=True)
class Statement:
    """Balances in nanocredits. Opening balance and movements add up to the closing balance."""

    month: str
    wallet_id: UUID
    after_seq: int
    last_seq: int
    """Of the month's transfers; those of the present month so far."""
    opening_balance: int
    closing_balance: int


async def view_statement(database: Database, *, user_id: UUID, month: str) -> Statement:
    """`month` is written 2026-11, and is one of UTC. Raises NotFoundError for one before the wallet or to come."""
    async with database.transaction() as tx:
        wallet = (await tx.execute(select(wallets).where(wallets.c.user_id == user_id))).one_or_none()
        is_month = re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", month) is not None
        if wallet is None or not is_month or not f"{wallet.created_at:%Y-%m}" <= month <= f"{clock.now():%Y-%m}":
            raise NotFoundError("There is no statement of this month.")
        begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
        after_seq, last_seq = await _last_seq_before(tx, wallet.id, begin), await _last_seq_before(tx, wallet.id, end)
        return Statement(
            month,
            wallet.id,
            after_seq,
            last_seq,
            await _balance_at(tx, wallet.id, after_seq),
            await _balance_at(tx, wallet.id, last_seq),
        )


async def list_months(database: Database, *, user_id: UUID) -> list[str]:
    """The months that have a statement, newest first."""
    async with database.transaction() as tx:
        created_at = await tx.scalar(select(wallets.c.created_at).where(wallets.c.user_id == user_id))
    if created_at is None:
        raise NotFoundError("Wallet not found.")
    now = clock.now()
    newest, oldest = now.year * 12 + now.month - 1, created_at.year * 12 + created_at.month - 1
    return [f"{number // 12}-{number % 12 + 1:02}" for number in range(newest, oldest - 1, -1)]


async def read_movements(database: Database, statement: Statement) -> AsyncIterator[Transaction]:
    """Oldest first. Read in parts, each in a transaction of its own: what is booked does not change between them."""
    for start in range(statement.after_seq, statement.last_seq, _AT_ONCE):
        query = select_transactions().where(
            transfers.c.wallet_id == statement.wallet_id,
            transfers.c.wallet_seq > start,
            transfers.c.wallet_seq <= min(start + _AT_ONCE, statement.last_seq),
            transfers.c.kind.in_(_SHOWN),
        )
        async with database.transaction() as tx:
            rows = (await tx.execute(query.order_by(transfers.c.wallet_seq))).all()
        for row in rows:
            yield transaction_of(row)


async def _last_seq_before(tx: Tx, wallet_id: UUID, at: datetime) -> int:
    """The place of the last transfer before a time; 0 where there is none.

    Found in 40 steps however many there are, without an index by time, which every posting would have to pay for. The
    steps are the same each time, so a month never ends elsewhere than the next one begins, even where the clock of the
    database once went back.
    """
    seq: int = (await tx.execute(_SEARCH, {"wallet_id": wallet_id, "at": at})).scalar_one()
    return seq


_SEARCH = text("""
    WITH RECURSIVE search (bit, seq) AS (
        SELECT 40, 0::bigint
        UNION ALL
        SELECT bit - 1, CASE WHEN EXISTS (
            SELECT FROM transfers t
            WHERE t.wallet_id = :wallet_id AND t.wallet_seq = seq + (1::bigint << (bit - 1)) AND t.recorded_at < :at
        ) THEN seq + (1::bigint << (bit - 1)) ELSE seq END
        FROM search WHERE bit > 0
    )
    SELECT seq FROM search WHERE bit = 0
""")


async def _balance_at(tx: Tx, wallet_id: UUID, seq: int) -> int:
    query = select(transfers).where(transfers.c.wallet_id == wallet_id, transfers.c.wallet_seq == seq)
    row = (await tx.execute(query)).one_or_none()
    return 0 if row is None else balance_after(row)
