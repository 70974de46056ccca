"""The row of a top-up, and the one way in which its state changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, any_, insert, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from pantheon import clock, metrics
from pantheon.db.engine import Tx
from pantheon.db.many_rows import given, insert_many
from pantheon.db.tables import top_up_history, top_ups
from pantheon.errors import NotFoundError
from pantheon.ids import uuid7
from pantheon.money.top_up import Promise, State


@dataclass(frozen=True)
class TopUp:
    id: UUID
    user_id: UUID
    wallet_id: UUID
    state: State
    reason: str | None
    amount_minor: int
    currency: str
    credits: int
    """Nanocredits that a payment of exactly `amount_minor` buys, fixed when the top-up was created."""
    livemode: bool
    stripe_account: str | None
    payment_intent_id: str | None
    customer_id: str | None
    """Stripe's customer, with whom the payment is made. None until Stripe is asked for the payment."""
    request_params: dict[str, Any]
    leased_until: datetime
    cancel_reason: str | None
    grant_id: UUID | None
    created_at: datetime
    expires_at: datetime
    credited_at: datetime | None

    @property
    def promise(self) -> Promise:
        return Promise(
            payment_id=self.payment_intent_id,
            amount_minor=self.amount_minor,
            currency=self.currency,
            livemode=self.livemode,
            account=self.stripe_account,
            customer=self.customer_id,
            cancel_reason=self.cancel_reason,
        )


_COLUMNS = [column for column in top_ups.c if column.name != "credits_per_major"]


def _top_up(row: RowMapping) -> TopUp:
    return TopUp(**{**row, "state": State(row["state"])})


async def get_top_up(tx: Tx, top_up_id: UUID, *, user_id: UUID | None = None) -> TopUp:
    """Raises NotFoundError, also for another user's top-up when `user_id` is given."""
    query = select(*_COLUMNS).where(top_ups.c.id == top_up_id)
    if user_id is not None:
        query = query.where(top_ups.c.user_id == user_id)
    row = (await tx.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("Top-up not found.")
    return _top_up(row)


async def lock_top_up(tx: Tx, top_up_id: UUID) -> TopUp:
    """The row, locked until `tx` ends. The wallet is locked after it, never before."""
    query = select(*_COLUMNS).where(top_ups.c.id == top_up_id).with_for_update()
    row = (await tx.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("Top-up not found.")
    return _top_up(row)


async def lock_free_top_ups(tx: Tx, ids: Sequence[UUID]) -> dict[UUID, TopUp]:
    """Those of the rows that nobody else has locked, locked until `tx` ends."""
    named = literal(ids, ARRAY(top_ups.c.id.type))
    query = (
        select(*_COLUMNS).where(top_ups.c.id == any_(named)).order_by(top_ups.c.id).with_for_update(skip_locked=True)
    )
    return {row["id"]: _top_up(row) for row in (await tx.execute(query)).mappings()}


async def find_top_ups(
    tx: Tx, *conditions: Any, limit: int, offset: int = 0, oldest_first: bool = False
) -> list[TopUp]:
    order = (top_ups.c.created_at, top_ups.c.id)
    query = select(*_COLUMNS).where(*conditions)
    query = query.order_by(*order) if oldest_first else query.order_by(*(column.desc() for column in order))
    rows = await tx.execute(query.limit(limit).offset(offset))
    return [_top_up(row) for row in rows.mappings()]


async def move_top_up(
    tx: Tx, top_up: TopUp, state: State, *, reason: str | None, inbox_event_id: UUID | None = None, **changes: Any
) -> TopUp:
    """Changes the locked row and, where its state changes, writes down why."""
    row = (
        await tx.execute(
            update(top_ups)
            .where(top_ups.c.id == top_up.id)
            .values(state=state, reason=reason, **changes)
            .returning(*_COLUMNS)
        )
    ).mappings()
    if state is not top_up.state:
        metrics.TOP_UPS.labels(state).inc()
        await record_history(tx, top_up.id, top_up.state, state, reason=reason, inbox_event_id=inbox_event_id)
    return _top_up(row.one())


@dataclass(frozen=True)
class Move:
    """The locked row as it was, and as it will be."""

    start: TopUp
    end: TopUp
    inbox_event_id: UUID | None


async def move_top_ups(tx: Tx, moves: Sequence[Move]) -> None:
    """Many at once, in what the facts about a payment can change."""
    if not moves:
        return
    changed = ("state", "reason", "payment_intent_id", "grant_id", "credited_at")
    ends = given([vars(move.end) for move in moves], top_ups.c.id, *(top_ups.c[name] for name in changed))
    await tx.execute(update(top_ups).where(top_ups.c.id == ends.c.id).values({name: ends.c[name] for name in changed}))
    for move in moves:
        if move.start.state is not move.end.state:
            metrics.TOP_UPS.labels(move.end.state).inc()
    history = [
        _history(move.end.id, move.start.state, move.end.state, move.end.reason, move.inbox_event_id)
        for move in moves
        if move.start.state is not move.end.state
    ]
    if history:
        await tx.execute(insert_many(top_up_history, history))


async def record_history(
    tx: Tx, top_up_id: UUID, start: State | None, end: State, *, reason: str | None, inbox_event_id: UUID | None = None
) -> None:
    await tx.execute(insert(top_up_history), [_history(top_up_id, start, end, reason, inbox_event_id)])


def _history(
    top_up_id: UUID, start: State | None, end: State, reason: str | None, inbox_event_id: UUID | None
) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "top_up_id": top_up_id,
        "from_state": start,
        "to_state": end,
        "reason": reason,
        "inbox_event_id": inbox_event_id,
        "at": clock.now(),
    }
