"""How far a call got, and how it ended, in its row. What it cost is in its receipt alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import bindparam, func, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer, Uuid

from pantheon import metrics
from pantheon.db.engine import Database
from pantheon.db.tables import calls
from pantheon.turns.admit_call import Call
from pantheon.wallets.notice_balance import notice_balance


async def record_progress(database: Database, delivered: Mapping[UUID, int]) -> None:
    """`delivered` are the tokens of output that each call has handed on."""
    told = (
        func.unnest(
            bindparam("ids", list(delivered), ARRAY(Uuid())),
            bindparam("tokens", list(delivered.values()), ARRAY(Integer())),
        )
        .table_valued("id", "tokens")
        .render_derived()
    )
    async with database.transaction() as tx:
        await tx.execute(
            update(calls)
            .where(calls.c.id == told.c.id, calls.c.state == "open")
            .values(delivered_output=func.greatest(calls.c.delivered_output, told.c.tokens))
        )


async def record_end(
    database: Database,
    call: Call,
    *,
    state: Literal["settled", "released", "refused"],
    outcome: str,
    delivered_output: int = 0,
    first_token_at: datetime | None = None,
) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            update(calls)
            .where(calls.c.id == call.id, calls.c.state == "open")
            .values(
                state=state,
                outcome=outcome,
                delivered_output=delivered_output,
                first_token_at=first_token_at,
                ended_at=func.now(),
            )
        )
        await notice_balance(tx, call.wallet_id)
    metrics.CALLS.labels(outcome).inc()
    if first_token_at is not None:
        metrics.FIRST_TOKENS.observe((first_token_at - call.started_at).total_seconds())
