"""From the facts about a payment to credits: the books are moved to what follows from the facts, and never by an event.

The same facts twice, or late, or in another order, lead to the same end.
"""

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, insert, select, update

from pantheon import clock, failpoints
from pantheon.db.engine import Tx
from pantheon.db.tables import payments
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.chart import Kind
from pantheon.money.top_up import Facts, PaymentStatus, State, Verdict, judge
from pantheon.payments.declines import category_of
from pantheon.payments.stripe.objects import Payment
from pantheon.payments.top_ups import TopUp, lock_top_up, move_top_up

NOTE = "stripe_topup"

_FINAL = (PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED)

_logger = structlog.get_logger(__name__)


async def fulfil(
    tx: Tx,
    top_up_id: UUID,
    payment: Payment,
    *,
    account: str | None,
    inbox_event_id: UUID | None = None,
    failed: bool = False,
) -> tuple[TopUp, str]:
    """Takes in what `payment` says and brings its top-up, and the wallet, to where the facts put them.

    Answers the top-up and the outcome as a code. `failed` tells of one more failed attempt to pay.
    """
    top_up = await lock_top_up(tx, top_up_id)
    if top_up.payment_intent_id not in (None, payment.id):
        return top_up, await _set_aside(tx, top_up, payment, account)
    facts = await _merge(tx, top_up, payment, account, failed=failed)
    verdict = judge(top_up.state, promise=top_up.promise, facts=facts)
    if verdict.state is top_up.state:
        if top_up.payment_intent_id is None:
            top_up = await move_top_up(tx, top_up, top_up.state, reason=top_up.reason, payment_intent_id=payment.id)
        return top_up, "payment_failed" if failed else "unchanged"
    changes: dict[str, Any] = {"payment_intent_id": payment.id}
    if verdict.state is State.CREDITED:
        failpoints.reach("event.facts_written")
        grant_id = await _grant(tx, top_up, payment.id)
        if grant_id is None:
            verdict = Verdict(State.REVIEW, "wallet_full")
        else:
            changes |= {"grant_id": grant_id, "credited_at": clock.now()}
    if verdict.state is State.REVIEW:
        await _mark_for_review(tx, payment, verdict.reason)
        _logger.error("payment_in_review", top_up_id=str(top_up.id), payment_id=payment.id, reason=verdict.reason)
    top_up = await move_top_up(
        tx, top_up, verdict.state, reason=verdict.reason, inbox_event_id=inbox_event_id, **changes
    )
    return top_up, verdict.state


async def _grant(tx: Tx, top_up: TopUp, payment_id: str) -> UUID | None:
    """The grant; None where the wallet holds as much as one can hold, which no repeat would change."""
    posting = await post.grant(
        tx,
        wallet_id=top_up.wallet_id,
        grant_id=uuid7(),
        kind=Kind.TOP_UP_GRANT,
        reference_id=payment_id,
        source="top_up",
        category="paid",
        amount=top_up.credits,
        cost_minor=top_up.amount_minor,
        note=NOTE,
    )
    if posting.code == "amount_out_of_range":
        return None
    return posting.expect("ok", "duplicate").grant_id


async def _merge(tx: Tx, top_up: TopUp, payment: Payment, account: str | None, *, failed: bool) -> Facts:
    """What is known of the payment once this is added: the most that was received, and a final status stays."""
    known = (await tx.execute(select(payments).where(*_is(payment)))).one_or_none()
    facts = payment.facts(account)
    if known is None:
        await _insert(tx, top_up, payment, account, failed=failed)
        return facts
    status = payment.status
    if PaymentStatus(known.status) in _FINAL and status is not PaymentStatus.SUCCEEDED:
        status = PaymentStatus(known.status)
    merged = Facts(
        payment_id=payment.id,
        status=status,
        received_minor=max(known.received_minor, payment.amount_received),
        currency=payment.currency,
        livemode=payment.livemode,
        account=account,
        customer=payment.customer,
    )
    changes = {"failures": payments.c.failures + 1, "failure_category": _failure(payment)} if failed else {}
    await tx.execute(
        update(payments)
        .where(*_is(payment))
        .values(status=merged.status, received_minor=merged.received_minor, last_seen_at=clock.now(), **changes)
    )
    return merged


async def _insert(
    tx: Tx, top_up: TopUp, payment: Payment, account: str | None, *, failed: bool, review_reason: str | None = None
) -> None:
    now = clock.now()
    await tx.execute(
        insert(payments).values(
            id=uuid7(),
            payment_intent_id=payment.id,
            livemode=payment.livemode,
            account=account,
            top_up_id=top_up.id,
            status=payment.status,
            amount_minor=payment.amount,
            received_minor=payment.amount_received,
            currency=payment.currency,
            failures=int(failed),
            failure_category=_failure(payment) if failed else None,
            review_reason=review_reason,
            first_seen_at=now,
            last_seen_at=now,
        )
    )


async def _set_aside(tx: Tx, top_up: TopUp, payment: Payment, account: str | None) -> str:
    """Another payment claims this top-up. The first one stays its payment; money that came in needs an operator."""
    if payment.status is not PaymentStatus.SUCCEEDED:
        return "payment_id_differs"
    known = await tx.scalar(select(payments.c.id).where(*_is(payment)))
    if known is None:
        await _insert(tx, top_up, payment, account, failed=False, review_reason="payment_id_differs")
        _logger.error("payment_in_review", top_up_id=str(top_up.id), payment_id=payment.id, reason="payment_id_differs")
    return "review"


async def _mark_for_review(tx: Tx, payment: Payment, reason: str | None) -> None:
    await tx.execute(update(payments).where(*_is(payment)).values(review_reason=reason))


def _failure(payment: Payment) -> str | None:
    error = payment.last_payment_error
    return category_of(error.decline_code or error.code) if error else None


def _is(payment: Payment) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return payments.c.payment_intent_id == payment.id, payments.c.livemode == payment.livemode
