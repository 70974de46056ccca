"""One stored event: what it says about a payment becomes facts, if need be by asking Stripe, and these become credits.

Most events need no help and are handled many at once: see handle_events.py.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import select, update

from pantheon import clock, failpoints, metrics
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import inbox_events
from pantheon.errors import NotFoundError, PantheonError, PaymentsNotConfiguredError
from pantheon.money.top_up import needs_reread
from pantheon.payments.fulfil import News, fulfil
from pantheon.payments.stripe.client import API_VERSION, Stripe
from pantheon.payments.stripe.objects import Event, NamedPayment, Payment
from pantheon.payments.stripe.webhooks import parse_event
from pantheon.payments.top_ups import TopUp, get_top_up
from pantheon.tracing import span

GIVE_UP_AFTER = timedelta(hours=72)
_FIRST_WAIT = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(hours=1)

_logger = structlog.get_logger(__name__)


class ParkedError(Exception):
    """Nothing can be done with the event as it is; a person has to look, and repeating it would not help."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Told:
    """What an event tells of a payment: all of it, or its name where another version of the API rendered the rest."""

    event: Event
    payment: NamedPayment | Payment
    top_up_id: UUID

    def news(self, payment: Payment, inbox_event_id: UUID) -> News:
        return News(
            payment,
            account=self.event.account,
            inbox_event_id=inbox_event_id,
            failed=self.event.type == "payment_intent.payment_failed",
        )


async def handle_event(database: Database, stripe: Stripe | None, inbox_event_id: UUID) -> None:
    """Handles the event if nobody has; safe to call at any time and any number of times.

    A failure is written into the row, together with the time of the next attempt.
    """
    structlog.contextvars.bind_contextvars(inbox_event_id=str(inbox_event_id))
    try:
        with span("handle_event", inbox_event_id=str(inbox_event_id)):
            await _handle(database, stripe, inbox_event_id)
    except ParkedError as parked:
        _logger.error("event_parked", inbox_event_id=str(inbox_event_id), reason=parked.reason)
        async with database.transaction() as tx:
            await _finish(tx, inbox_event_id, "parked", parked.reason)
        metrics.EVENTS_HANDLED.labels("parked").inc()
    except Exception as error:
        metrics.EVENTS_HANDLED.labels("failed").inc()
        _logger.warning("event_attempt_failed", inbox_event_id=str(inbox_event_id), exc_info=error)
        async with database.transaction() as tx:
            await _record_failure(tx, inbox_event_id, error)


async def _handle(database: Database, stripe: Stripe | None, inbox_event_id: UUID) -> None:
    async with database.transaction() as tx:
        body = await _unhandled(tx, inbox_event_id)
        if body is None:
            return
        told = read(body)
        structlog.contextvars.bind_contextvars(
            event_id=told.event.id, top_up_id=str(told.top_up_id), payment_id=told.payment.id
        )
        try:
            payment = believable(told, await get_top_up(tx, told.top_up_id))
        except NotFoundError:
            raise ParkedError("top_up_unknown") from None
    if payment is None:
        payment = await _current(stripe, told.payment)
    async with database.transaction() as tx:
        # Whoever holds this row is the only one who handles the event.
        if await _unhandled(tx, inbox_event_id, lock=True) is None:
            return
        failpoints.reach("event.claimed")
        _, outcome = await fulfil(tx, told.top_up_id, told.news(payment, inbox_event_id))
        await _finish(tx, inbox_event_id, "done", outcome)
        failpoints.reach("event.posted")
    failpoints.reach("event.done")
    metrics.EVENTS_HANDLED.labels("done").inc()
    _logger.info("event_handled", outcome=outcome)


async def _unhandled(tx: Tx, inbox_event_id: UUID, *, lock: bool = False) -> bytes | None:
    query = select(inbox_events.c.body).where(inbox_events.c.id == inbox_event_id, inbox_events.c.state == "received")
    body: bytes | None = await tx.scalar(query.with_for_update() if lock else query)
    return body


def read(body: bytes) -> Told:
    """Raises ParkedError."""
    event = parse_event(body)
    other_version = event.api_version is not None and _release(event.api_version) != _release(API_VERSION)
    try:
        payment = (NamedPayment if other_version else Payment).model_validate(event.payload)
    except ValidationError:
        raise ParkedError("payment_unreadable") from None
    try:
        return Told(event, payment, UUID(payment.metadata["top_up_id"]))
    except (KeyError, ValueError):
        raise ParkedError("top_up_id_unreadable") from None


def believable(told: Told, top_up: TopUp) -> Payment | None:
    """The event's own copy of the payment; None where Stripe has to be asked, because the copy may mislead."""
    if not isinstance(told.payment, Payment):
        return None
    is_its_payment = top_up.payment_intent_id in (None, told.payment.id)
    return None if is_its_payment and needs_reread(top_up.state, told.payment.status) else told.payment


async def _current(stripe: Stripe | None, told: NamedPayment) -> Payment:
    if stripe is not None:
        return await stripe.retrieve_payment(told.id)
    if isinstance(told, Payment):
        return told
    raise PaymentsNotConfiguredError


def _release(version: str) -> str:
    """`endive` of `2026-10-28.endive`: within one release Stripe changes nothing that breaks a reader."""
    return version.rpartition(".")[2]


async def _finish(tx: Tx, inbox_event_id: UUID, state: str, outcome: str) -> None:
    await tx.execute(
        update(inbox_events)
        .where(inbox_events.c.id == inbox_event_id, inbox_events.c.state == "received")
        .values(state=state, outcome=outcome, handled_at=clock.now(), attempts=inbox_events.c.attempts + 1)
    )


async def _record_failure(tx: Tx, inbox_event_id: UUID, error: Exception) -> None:
    row = (
        await tx.execute(
            select(inbox_events.c.attempts, inbox_events.c.received_at)
            .where(inbox_events.c.id == inbox_event_id, inbox_events.c.state == "received")
            .with_for_update()
        )
    ).one_or_none()
    if row is None:
        return
    now = clock.now()
    reason = error.code if isinstance(error, PantheonError) else type(error).__name__
    if row.received_at < now - GIVE_UP_AFTER:
        _logger.error("event_dead", inbox_event_id=str(inbox_event_id), reason=reason)
        await _finish(tx, inbox_event_id, "dead", reason)
        return
    wait = min(_FIRST_WAIT * 2 ** min(row.attempts, 20), _LONGEST_WAIT)
    await tx.execute(
        update(inbox_events)
        .where(inbox_events.c.id == inbox_event_id)
        .values(attempts=row.attempts + 1, last_error=reason, next_attempt_at=now + wait)
    )
