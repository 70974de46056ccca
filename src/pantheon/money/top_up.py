"""The life of a top-up. Nothing about its states lives elsewhere; the database's trigger is loaded from `TRANSITIONS`.

    creating ──▶ awaiting_payment ◀──▶ processing
        │               │  cancel or expiry
        ▼               ▼
    failed_to_create   cancel_requested ──▶ canceled | expired

A payment that succeeded leads from every one of these to `credited`, or to `review` where it is not what was promised.
`credited` is not the end: refunds and disputes may reverse it, for ever.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    CREATING = "creating"
    AWAITING_PAYMENT = "awaiting_payment"
    PROCESSING = "processing"
    CANCEL_REQUESTED = "cancel_requested"
    CANCELED = "canceled"
    EXPIRED = "expired"
    FAILED_TO_CREATE = "failed_to_create"
    CREDITED = "credited"
    REVIEW = "review"
    PARTIALLY_REVERSED = "partially_reversed"
    REVERSED = "reversed"
    REFUNDED_UNMATCHED = "refunded_unmatched"


OPEN = frozenset({State.CREATING, State.AWAITING_PAYMENT, State.PROCESSING, State.CANCEL_REQUESTED})
"""The user may still pay."""

CLOSED_UNPAID = frozenset({State.CANCELED, State.EXPIRED, State.FAILED_TO_CREATE})

PAID = frozenset({State.CREDITED, State.PARTIALLY_REVERSED, State.REVERSED})
"""Credits were granted, whatever became of them later."""

TRANSITIONS: dict[State, frozenset[State]] = {
    State.CREATING: frozenset(
        {
            State.AWAITING_PAYMENT,
            State.PROCESSING,
            State.CANCEL_REQUESTED,
            State.CANCELED,
            State.EXPIRED,
            State.FAILED_TO_CREATE,
            State.CREDITED,
            State.REVIEW,
        }
    ),
    State.AWAITING_PAYMENT: frozenset(
        {State.PROCESSING, State.CANCEL_REQUESTED, State.CANCELED, State.EXPIRED, State.CREDITED, State.REVIEW}
    ),
    State.PROCESSING: frozenset({State.AWAITING_PAYMENT, State.CANCELED, State.EXPIRED, State.CREDITED, State.REVIEW}),
    State.CANCEL_REQUESTED: frozenset({State.CANCELED, State.EXPIRED, State.PROCESSING, State.CREDITED, State.REVIEW}),
    State.CANCELED: frozenset({State.CREDITED, State.REVIEW}),
    State.EXPIRED: frozenset({State.CREDITED, State.REVIEW}),
    State.FAILED_TO_CREATE: frozenset({State.CREDITED, State.REVIEW}),
    State.CREDITED: frozenset({State.PARTIALLY_REVERSED, State.REVERSED}),
    State.PARTIALLY_REVERSED: frozenset({State.CREDITED, State.REVERSED}),
    State.REVERSED: frozenset({State.CREDITED, State.PARTIALLY_REVERSED}),
    State.REVIEW: frozenset({State.CREDITED, State.REFUNDED_UNMATCHED}),
    State.REFUNDED_UNMATCHED: frozenset(),
}


class PaymentStatus(StrEnum):
    """What Stripe says of a payment. `UNKNOWN` is a value that this version does not know: it never grants."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    REQUIRES_CAPTURE = "requires_capture"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What our row says: the payment that was asked for."""

    payment_id: str | None
    amount_minor: int
    currency: str
    livemode: bool
    account: str | None
    customer: str | None
    cancel_reason: str | None
    """`user` or `expiry` when a cancellation was asked for."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What Stripe says: the payment as it was last seen."""

    payment_id: str
    status: PaymentStatus
    received_minor: int
    currency: str
    livemode: bool
    account: str | None
    customer: str | None


@dataclass(frozen=True)
class Verdict:
    state: State
    reason: str | None = None
    """Why, as a stable code: for `review` the first thing that does not match."""


def judge(state: State, *, promise: Promise, facts: Facts) -> Verdict:
    """The state that a top-up must be in, given what is known of its payment.

    Depends on facts alone and not on the order in which they arrived. Never moves a paid top-up back.
    """
    if state in PAID or state in (State.REVIEW, State.REFUNDED_UNMATCHED):
        return Verdict(state)
    if facts.status is PaymentStatus.SUCCEEDED:
        mismatch = first_mismatch(promise=promise, facts=facts)
        return Verdict(State.REVIEW, mismatch) if mismatch else Verdict(State.CREDITED, "payment_succeeded")
    if state in CLOSED_UNPAID:
        return Verdict(state)
    if facts.status is PaymentStatus.CANCELED:
        return Verdict(State.EXPIRED if promise.cancel_reason == "expiry" else State.CANCELED, "payment_canceled")
    if facts.status is PaymentStatus.PROCESSING:
        return Verdict(State.PROCESSING, "payment_processing")
    if state is State.CANCEL_REQUESTED:
        return Verdict(state)
    return Verdict(State.AWAITING_PAYMENT, "payment_open")


def first_mismatch(*, promise: Promise, facts: Facts) -> str | None:
    """The first difference between the payment that was promised and the one that was made, as a code."""
    if promise.payment_id is not None and promise.payment_id != facts.payment_id:
        return "payment_id_differs"
    if promise.livemode != facts.livemode:
        return "livemode_differs"
    if promise.account is not None and facts.account is not None and promise.account != facts.account:
        return "account_differs"
    if promise.customer is not None and promise.customer != facts.customer:
        return "customer_differs"
    if promise.currency != facts.currency:
        return "currency_differs"
    if facts.received_minor < promise.amount_minor:
        return "received_less"
    if facts.received_minor > promise.amount_minor:
        return "received_more"
    return None


def needs_reread(state: State, status: PaymentStatus) -> bool:
    """Whether an event's snapshot is too old to be believed and the payment must be read from Stripe first.

    A payment that succeeded after we closed its top-up, and a cancellation of one that was paid, are both possible;
    so are stale snapshots that say the same.
    """
    if status is PaymentStatus.SUCCEEDED:
        return state in CLOSED_UNPAID
    return status is PaymentStatus.CANCELED and (state in OPEN or state in PAID)
