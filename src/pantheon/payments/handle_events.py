"""The stored events that are due are handled many at once: a dozen statements and one commit for up to 128 of them.

An event is left to `handle_event`, alone, where it cannot be believed without asking Stripe, cannot be read, failed
before, or is about a top-up that somebody else is at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, text, update

from pantheon import clock, failpoints, metrics
from pantheon.db.engine import Database, Tx
from pantheon.db.many_rows import given
from pantheon.db.tables import inbox_events
from pantheon.errors import DatabaseUnavailableError, MalformedWebhookError
from pantheon.payments.fulfil import News, fulfil_all
from pantheon.payments.handle_event import ParkedError, Told, believable, read
from pantheon.payments.top_ups import TopUp, lock_free_top_ups
from pantheon.tracing import span

_BATCH = 128
_LEFT_ALONE = timedelta(seconds=30)
"""How long an event is left to whoever handles it alone. If he died, it is due again then."""
# One wallet that somebody keeps locked must not keep everybody's credits waiting.
_BE_IMPATIENT = text("SET LOCAL lock_timeout = '500ms'")

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Found:
    due: int
    alone: Sequence[UUID]
    """Those that somebody has to handle alone now."""


async def handle_events(database: Database) -> Found:
    """Handles what is due and what nobody else is at. Where that fails, nothing is done and each is left alone."""
    due: Sequence[Any] = ()
    try:
        async with database.transaction() as tx:
            await tx.execute(_BE_IMPATIENT)
            due = await _claim(tx)
            if not due:
                return Found(0, ())
            failpoints.reach("event.claimed")
            with span("handle_events"):
                told = {row.id: told for row in due if (told := _read(row)) is not None}
                outcomes = await _fulfil(tx, told)
                alone = [row.id for row in due if row.id not in outcomes]
                await _leave_alone(tx, alone)
            failpoints.reach("event.posted")
    except DatabaseUnavailableError:
        raise
    except Exception as error:
        if not due:
            raise
        _logger.warning("events_are_handled_alone", count=len(due), exc_info=error)
        alone = [row.id for row in due]
        async with database.transaction() as tx:
            await _leave_alone(tx, alone)
    else:
        failpoints.reach("event.done")
        _report(told, outcomes)
    return Found(len(due), alone)


async def _claim(tx: Tx) -> Sequence[Any]:
    """Whoever holds these rows is the only one who handles the events."""
    query = (
        select(inbox_events.c.id, inbox_events.c.body, inbox_events.c.attempts)
        .where(inbox_events.c.state == "received", inbox_events.c.next_attempt_at <= clock.now())
        .order_by(inbox_events.c.next_attempt_at)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    return (await tx.execute(query)).all()


def _read(row: Any) -> Told | None:
    try:
        return read(bytes(row.body)) if row.attempts == 0 else None
    except (ParkedError, MalformedWebhookError):
        return None


async def _fulfil(tx: Tx, told: dict[UUID, Told]) -> dict[UUID, str]:
    """The outcome of each event that could be handled with the others. Those are done."""
    free = await lock_free_top_ups(tx, [each.top_up_id for each in told.values()])
    together: dict[UUID, tuple[TopUp, News]] = {}
    for inbox_event_id, each in told.items():
        # Taken out of those that are free: only one event at a time brings a top-up forward.
        top_up = free.pop(each.top_up_id, None)
        payment = believable(each, top_up) if top_up else None
        if top_up and payment:
            together[inbox_event_id] = top_up, each.news(payment, inbox_event_id)
    if not together:
        return {}
    fulfilled = await fulfil_all(tx, list(together.values()))
    outcomes = {id: outcome for id, (_, outcome) in zip(together, fulfilled, strict=True)}
    done = given(
        [{"id": id, "outcome": outcome} for id, outcome in outcomes.items()], inbox_events.c.id, inbox_events.c.outcome
    )
    await tx.execute(
        update(inbox_events)
        .where(inbox_events.c.id == done.c.id)
        .values(state="done", outcome=done.c.outcome, handled_at=clock.now(), attempts=inbox_events.c.attempts + 1)
    )
    return outcomes


async def _leave_alone(tx: Tx, ids: Sequence[UUID]) -> None:
    if ids:
        later = update(inbox_events).values(next_attempt_at=clock.now() + _LEFT_ALONE)
        await tx.execute(later.where(inbox_events.c.id.in_(ids), inbox_events.c.state == "received"))


def _report(told: dict[UUID, Told], outcomes: dict[UUID, str]) -> None:
    for id, outcome in outcomes.items():
        each = told[id]
        metrics.EVENTS_HANDLED.labels("done").inc()
        _logger.info(
            "event_handled",
            inbox_event_id=str(id),
            event_id=each.event.id,
            top_up_id=str(each.top_up_id),
            payment_id=each.payment.id,
            outcome=outcome,
        )
