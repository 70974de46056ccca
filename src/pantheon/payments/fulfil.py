"""From the facts about a payment to credits: the books are moved to what follows from the facts, and never by an event.

The same facts twice, or late, or in another order, lead to the same end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import any_, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from pantheon import clock, failpoints
from pantheon.db.engine import Tx
from pantheon.db.many_rows import given, insert_many
from pantheon.db.tables import payments
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.chart import Kind
from pantheon.money.top_up import Facts, PaymentStatus, State, Verdict, judge
from pantheon.payments.declines import category_of
from pantheon.payments.stripe.objects import Payment
from pantheon.payments.top_ups import Move, TopUp, lock_top_up, move_top_ups

NOTE = "stripe_topup"

_FINAL = (PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED)

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class News:
    """What Stripe said of the payment for a top-up."""

    payment: Payment
    account: str | None
    inbox_event_id: UUID | None = None
    failed: bool = False
    """Whether it tells of one more failed attempt to pay."""


async def fulfil(tx: Tx, top_up_id: UUID, news: News) -> tuple[TopUp, str]:
    """Takes in what is said and brings the top-up, and the wallet, to where the facts put them.

    Answers the top-up and the outcome as a code.
    """
    (fulfilled,) = await fulfil_all(tx, [(await lock_top_up(tx, top_up_id), news)])
    return fulfilled


async def fulfil_all(tx: Tx, told: Sequence[tuple[TopUp, News]]) -> list[tuple[TopUp, str]]:
    """The same for many in a few statements. Their top-ups are locked, and none is there twice."""
    known = await _known(tx, [news.payment for _, news in told])
    steps = [_step(top_up, news, known.get((news.payment.id, news.payment.livemode))) for top_up, news in told]
    await _write_facts(tx, steps)
    await _grant(tx, [step for step in steps if step.moves and step.verdict.state is State.CREDITED])
    for step in steps:
        if step.moves and step.verdict.state is State.REVIEW:
            await _mark_for_review(tx, step)
    moves = [Move(step.top_up, step.moved(), step.news.inbox_event_id) for step in steps]
    await move_top_ups(tx, [move for move in moves if move.start != move.end])
    return [(move.end, step.outcome) for move, step in zip(moves, steps, strict=True)]


@dataclass
class _Step:
    top_up: TopUp
    news: News
    known: Any
    """The row of the payment, None where this is the first that is heard of it."""
    facts: Facts
    verdict: Verdict
    grant_id: UUID | None = None

    @property
    def is_another(self) -> bool:
        """Whether another payment claims the top-up. The first one stays its payment."""
        return self.top_up.payment_intent_id not in (None, self.news.payment.id)

    @property
    def moves(self) -> bool:
        return not self.is_another and self.verdict.state is not self.top_up.state

    def moved(self) -> TopUp:
        if self.is_another:
            return self.top_up
        claimed = replace(self.top_up, payment_intent_id=self.news.payment.id)
        if not self.moves:
            return claimed
        if self.grant_id:
            claimed = replace(claimed, grant_id=self.grant_id, credited_at=clock.now())
        return replace(claimed, state=self.verdict.state, reason=self.verdict.reason)

    @property
    def outcome(self) -> str:
        if self.is_another:
            return "review" if self.news.payment.status is PaymentStatus.SUCCEEDED else "payment_id_differs"
        if self.moves:
            return self.verdict.state
        return "payment_failed" if self.news.failed else "unchanged"


def _step(top_up: TopUp, news: News, known: Any) -> _Step:
    facts = _merged(news, known)
    return _Step(top_up, news, known, facts, judge(top_up.state, promise=top_up.promise, facts=facts))


def _merged(news: News, known: Any) -> Facts:
    """What is known of the payment once this is added: the most that was received, and a final status stays."""
    facts = news.payment.facts(news.account)
    if known is None:
        return facts
    stays = PaymentStatus(known.status) in _FINAL and facts.status is not PaymentStatus.SUCCEEDED
    return replace(
        facts,
        status=PaymentStatus(known.status) if stays else facts.status,
        received_minor=max(known.received_minor, facts.received_minor),
    )


async def _known(tx: Tx, told: Sequence[Payment]) -> dict[tuple[str, bool], Any]:
    names = literal([payment.id for payment in told], ARRAY(payments.c.payment_intent_id.type))
    rows = await tx.execute(select(payments).where(payments.c.payment_intent_id == any_(names)))
    return {(row.payment_intent_id, row.livemode): row for row in rows}


async def _write_facts(tx: Tx, steps: Sequence[_Step]) -> None:
    now = clock.now()
    new = [_new_row(step, now) for step in steps if step.known is None and step.outcome != "payment_id_differs"]
    if new:
        await tx.execute(insert_many(payments, new))
    changed = [
        {
            "id": step.known.id,
            "status": step.facts.status,
            "received_minor": step.facts.received_minor,
            "failures": int(step.news.failed),
            "failure_category": _failure(step.news) if step.news.failed else step.known.failure_category,
        }
        for step in steps
        if step.known is not None and not step.is_another
    ]
    if changed:
        more = given(changed, *(payments.c[name] for name in changed[0]))
        await tx.execute(
            update(payments)
            .where(payments.c.id == more.c.id)
            .values(
                status=more.c.status,
                received_minor=more.c.received_minor,
                failures=payments.c.failures + more.c.failures,
                failure_category=more.c.failure_category,
                last_seen_at=now,
            )
        )


def _new_row(step: _Step, now: Any) -> dict[str, Any]:
    if step.is_another:
        # Money came in for a top-up that has another payment: it needs an operator.
        _log_review(step, "payment_id_differs")
    payment = step.news.payment
    return {
        "id": uuid7(),
        "payment_intent_id": payment.id,
        "livemode": payment.livemode,
        "account": step.news.account,
        "top_up_id": step.top_up.id,
        "status": payment.status,
        "amount_minor": payment.amount,
        "received_minor": payment.amount_received,
        "currency": payment.currency,
        "failures": int(step.news.failed),
        "failure_category": _failure(step.news) if step.news.failed else None,
        "review_reason": "payment_id_differs" if step.is_another else None,
        "first_seen_at": now,
        "last_seen_at": now,
    }


async def _grant(tx: Tx, steps: Sequence[_Step]) -> None:
    """Review instead, where the wallet holds as much as one can hold, which no repeat would change."""
    if not steps:
        return
    failpoints.reach("event.facts_written")
    postings = await post.grant_all(
        tx,
        [
            post.Grant(
                wallet_id=step.top_up.wallet_id,
                grant_id=uuid7(),
                kind=Kind.TOP_UP_GRANT,
                reference_id=step.news.payment.id,
                source="top_up",
                category="paid",
                amount=step.top_up.credits,
                cost_minor=step.top_up.amount_minor,
                note=NOTE,
            )
            for step in steps
        ],
    )
    for step, posting in zip(steps, postings, strict=True):
        if posting.code == "amount_out_of_range":
            step.verdict = Verdict(State.REVIEW, "wallet_full")
        else:
            step.grant_id = posting.expect("ok", "duplicate").grant_id


async def _mark_for_review(tx: Tx, step: _Step) -> None:
    _log_review(step, step.verdict.reason)
    payment = step.news.payment
    await tx.execute(
        update(payments)
        .where(payments.c.payment_intent_id == payment.id, payments.c.livemode == payment.livemode)
        .values(review_reason=step.verdict.reason)
    )


def _log_review(step: _Step, reason: str | None) -> None:
    _logger.error("payment_in_review", top_up_id=str(step.top_up.id), payment_id=step.news.payment.id, reason=reason)


def _failure(news: News) -> str | None:
    error = news.payment.last_payment_error
    return category_of(error.decline_code or error.code) if error else None
