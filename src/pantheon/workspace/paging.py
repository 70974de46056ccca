"""One page of a list, and how long the list is."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, Select, func, select

from pantheon.db.engine import Tx


async def page(tx: Tx, query: Select[Any], *, limit: int, offset: int) -> tuple[Sequence[RowMapping], int]:
    total = await tx.scalar(select(func.count()).select_from(query.order_by(None).subquery()))
    rows = await tx.execute(query.limit(limit).offset(offset))
    return rows.mappings().all(), total or 0


async def count(tx: Tx, query: Select[Any]) -> int:
    return int(await tx.scalar(select(func.count()).select_from(query.subquery())) or 0)
