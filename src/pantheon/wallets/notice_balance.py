"""Notices that the credits go down: each level is noticed once for each top-up, and shown as long as it is so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import insert

from pantheon.db.engine import Tx
from pantheon.db.tables import balance_notices, grants, wallets
from pantheon.money.notice import reached

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Notice:
    level: int
    """Percent of the last top-up: no more than this is left."""
    since: datetime


async def notice_balance(tx: Tx, wallet_id: UUID) -> None:
    """Writes down which levels the wallet has reached. Called when it was spent from."""
    rows = await _look(tx, _OF_WALLET, wallet_id)
    if not rows:
        return
    known = {row.level for row in rows}
    levels = [level for level in reached(left=rows[0].left, top_up=rows[0].amount) if level not in known]
    if not levels:
        return
    values = [{"grant_id": rows[0].id, "level": level, "since": func.now()} for level in levels]
    statement = insert(balance_notices).values(values).on_conflict_do_nothing()
    # Of calls that end at once, one tells.
    written = list(await tx.scalars(statement.returning(balance_notices.c.level)))
    if written:
        _logger.info("balance_notice", wallet_id=str(wallet_id), level=min(written))


async def find_notice(tx: Tx, user_id: UUID) -> Notice | None:
    """None as long as there is more, where no top-up was made, and until a call has noticed it."""
    rows = await _look(tx, _OF_USER, user_id)
    levels = reached(left=rows[0].left, top_up=rows[0].amount) if rows else []
    return next((Notice(row.level, row.since) for row in rows if levels and row.level == levels[-1]), None)


async def _look(tx: Tx, query: Select[Any], id: UUID) -> Sequence[Row[*tuple[Any, ...]]]:
    rows: Sequence[Row[*tuple[Any, ...]]] = (await tx.execute(query, {"id": id})).all()
    return rows


def _query(whose: ColumnElement[Any]) -> Select[Any]:
    """The last top-up and what is left, once for each level that was noticed since, or once with none."""
    last = (
        select(grants.c.id, grants.c.amount)
        .where(grants.c.wallet_id == wallets.c.id, grants.c.source == "top_up")
        .order_by(grants.c.created_at.desc(), grants.c.id.desc())
        .limit(1)
        .lateral()
    )
    # What is on hold comes back for the most part, so it is not gone yet.
    left = (wallets.c.available + wallets.c.held).label("left")
    return (
        select(last.c.id, last.c.amount, left, balance_notices.c.level, balance_notices.c.since)
        .select_from(wallets)
        .join(last, true())
        .outerjoin(balance_notices, balance_notices.c.grant_id == last.c.id)
        .where(whose == bindparam("id"))
    )


# Built once: that takes longer than to ask them, and every call of a model asks one.
_OF_WALLET, _OF_USER = _query(wallets.c.id), _query(wallets.c.user_id)
