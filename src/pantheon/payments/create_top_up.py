"""Opens a top-up: our row first, then the payment at Stripe, then what Stripe answered into our row.

Whatever dies in between is found again: the row says what was asked for, and the idempotency key made from its id
lets a repeat find the payment that was already made.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, insert, select

from pantheon import clock, failpoints
from pantheon.db import idempotency, locks, rate_limit
from pantheon.db.engine import Database, Tx
from pantheon.db.locks import Lock
from pantheon.db.tables import installation, top_ups, wallets
from pantheon.errors import (
    AmountOutOfRangeError,
    ConflictError,
    IdempotencyInProgressError,
    InvalidInputError,
    PaymentRejectedError,
    PaymentsNotConfiguredError,
    PaymentsUnavailableError,
    TooManyRequestsError,
    WalletFrozenError,
)
from pantheon.ids import uuid7
from pantheon.money.amounts import format_decimal, parse_decimal
from pantheon.money.price import credits_for
from pantheon.money.top_up import CLOSED_UNPAID, OPEN, State
from pantheon.payments.customers import Payer, customer_of, replace_customer
from pantheon.payments.stripe.client import Stripe
from pantheon.payments.stripe.failures import CustomerGoneError, FailureReplayedError
from pantheon.payments.stripe.objects import Payment
from pantheon.payments.top_ups import TopUp, find_top_ups, get_top_up, lock_top_up, move_top_up, record_history
from pantheon.settings import Settings

_SAME_ATTEMPT = timedelta(minutes=10)
_REQUESTS_PER_TOP_UP = 5
"""How often a top-up may be asked for again, on average: each time is a call to Stripe."""
LEASE = timedelta(seconds=30)
"""How long the process that created a row has for its call to Stripe before others may take over."""
KEY_LIFE = timedelta(hours=23)
"""Stripe forgets an idempotency key after a day; from then on a repeat would be a second payment."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OpenTopUp:
    top_up: TopUp
    payment: Payment
    """Carries the client secret, with which the payer's browser pays. It is not stored."""
    replayed: bool
    """Whether the top-up was there before this request."""


async def create_top_up(
    database: Database,
    stripe: Stripe | None,
    settings: Settings,
    *,
    user_id: UUID,
    amount: str,
    idempotency_key: str | None = None,
) -> OpenTopUp:
    """A top-up of `amount` (a decimal string in the major unit) that can be paid.

    Raises AmountOutOfRangeError, PaymentsNotConfiguredError, WalletFrozenError, TooManyRequestsError,
    IdempotencyKeyReusedError, IdempotencyInProgressError, PaymentsUnavailableError and PaymentRejectedError, and
    ConflictError for the key of a top-up that was cancelled before it could be paid. After PaymentsUnavailableError
    nobody knows whether the payment exists: a repeat with the same key goes on with it.
    """
    amount_minor = _amount_in_range(settings, amount)
    if stripe is None:
        raise PaymentsNotConfiguredError
    request = idempotency.keyed(idempotency_key, user_id=user_id, route="top_ups", amount_minor=amount_minor)
    async with database.transaction() as tx:
        top_up, is_new = await _reserve(tx, settings, user_id=user_id, amount_minor=amount_minor, request=request)
    failpoints.reach("top_up.row_inserted")
    # Who clicks twice is not sent away while the first click still runs: Stripe knows both by the same key.
    top_up, payment = await open_payment(database, stripe, top_up, mine=is_new or request is None)
    failpoints.reach("top_up.payment_stored")
    return OpenTopUp(top_up, payment, replayed=not is_new)


def _amount_in_range(settings: Settings, amount: str) -> int:
    decimals = settings.money.decimals
    low, high = settings.top_up_min_minor, settings.top_up_max_minor
    try:
        amount_minor = parse_decimal(amount, decimals=decimals)
    except ValueError as error:
        raise InvalidInputError(f"amount_usd {error}") from None
    if not low <= amount_minor <= high:
        bounds = [format_decimal(bound, decimals=decimals, least=decimals) for bound in (low, high)]
        raise AmountOutOfRangeError(f"amount_usd must be between {bounds[0]} and {bounds[1]}")
    return amount_minor


async def _reserve(
    tx: Tx, settings: Settings, *, user_id: UUID, amount_minor: int, request: idempotency.Request | None
) -> tuple[TopUp, bool]:
    """The row for this request, and whether it is new."""
    # One at a time for each user, so that parallel requests cannot pass the same limit together.
    await locks.take(tx, Lock.TOP_UPS_OF_USER, str(user_id))
    most = settings.rate_limit_top_ups_per_hour * _REQUESTS_PER_TOP_UP
    await rate_limit.hit(tx, f"top_up_requests:{user_id}", limit=most, window_seconds=3600)
    top_up_id = uuid7()
    if request is not None:
        replay = await idempotency.claim(tx, request, resource_id=top_up_id)
        if replay is not None:
            assert replay.resource_id is not None
            return await get_top_up(tx, replay.resource_id, user_id=user_id), False
    elif same := await _same_attempt(tx, settings, user_id, amount_minor):
        return same, False
    await _refuse_too_many(tx, settings, user_id)
    await _insert(tx, settings, top_up_id=top_up_id, user_id=user_id, amount_minor=amount_minor)
    structlog.contextvars.bind_contextvars(top_up_id=str(top_up_id))
    return await get_top_up(tx, top_up_id), True


async def _same_attempt(tx: Tx, settings: Settings, user_id: UUID, amount_minor: int) -> TopUp | None:
    """Somebody who clicks twice means one payment."""
    found = await find_top_ups(
        tx,
        top_ups.c.user_id == user_id,
        top_ups.c.amount_minor == amount_minor,
        top_ups.c.livemode == settings.livemode,
        top_ups.c.state.in_([State.CREATING, State.AWAITING_PAYMENT]),
        top_ups.c.created_at > clock.now() - _SAME_ATTEMPT,
        limit=1,
    )
    return found[0] if found else None


async def _refuse_too_many(tx: Tx, settings: Settings, user_id: UUID) -> None:
    await rate_limit.hit(tx, f"top_ups:{user_id}", limit=settings.rate_limit_top_ups_per_hour, window_seconds=3600)
    still_open = (
        top_ups.c.user_id == user_id,
        top_ups.c.livemode == settings.livemode,
        top_ups.c.state.in_(OPEN),
    )
    open_count = await tx.scalar(select(func.count()).select_from(top_ups).where(*still_open))
    if (open_count or 0) >= settings.top_up_max_open:
        raise TooManyRequestsError(
            f"You have {open_count} unpaid top-ups open. Pay or cancel one of them first.", retry_after=60
        )


async def _insert(tx: Tx, settings: Settings, *, top_up_id: UUID, user_id: UUID, amount_minor: int) -> None:
    wallet = (await tx.execute(select(wallets.c.id, wallets.c.state).where(wallets.c.user_id == user_id))).one()
    if wallet.state != "active":
        raise WalletFrozenError
    now = clock.now()
    await tx.execute(
        insert(top_ups).values(
            id=top_up_id,
            user_id=user_id,
            wallet_id=wallet.id,
            state=State.CREATING,
            amount_minor=amount_minor,
            currency=settings.currency,
            credits=credits_for(
                amount_minor, decimals=settings.money.decimals, credits_per_major=settings.credits_per_usd
            ),
            credits_per_major=str(settings.credits_per_usd),
            livemode=settings.livemode,
            stripe_account=settings.stripe_account_id,
            request_params={
                "amount": amount_minor,
                "currency": settings.currency,
                "automatic_payment_methods": {"enabled": True},
                "capture_method": "automatic_async",
                "description": "Credits",
                "metadata": {
                    "top_up_id": str(top_up_id),
                    "environment_id": str(await tx.scalar(select(installation.c.id))),
                    "schema": "1",
                },
            },
            leased_until=now + LEASE,
            created_at=now,
            expires_at=now + timedelta(seconds=settings.top_up_ttl_seconds),
        )
    )
    await record_history(tx, top_up_id, None, State.CREATING, reason="requested")


async def open_payment(database: Database, stripe: Stripe, top_up: TopUp, *, mine: bool) -> tuple[TopUp, Payment]:
    """The top-up with its payment at Stripe, which is created if it is not there yet.

    `mine` says that the caller holds the lease of a row in `creating`; anybody else waits until it has run out.
    """
    if top_up.payment_intent_id is not None:
        return top_up, await stripe.retrieve_payment(top_up.payment_intent_id)
    if top_up.state is State.FAILED_TO_CREATE:
        raise PaymentRejectedError
    if top_up.state in CLOSED_UNPAID:
        raise ConflictError("This top-up was cancelled before it could be paid.")
    now = clock.now()
    if not mine and top_up.leased_until > now:
        raise IdempotencyInProgressError(retry_after=1)
    if top_up.created_at < now - KEY_LIFE:
        # Only the sweep may decide about it: it looks at Stripe first.
        raise PaymentsUnavailableError(retry_after=60)
    try:
        payment = await _create_payment(database, stripe, top_up)
    except (PaymentRejectedError, AmountOutOfRangeError):
        async with database.transaction() as tx:
            await give_up_creating(tx, top_up.id, reason="refused_by_stripe")
        raise
    except FailureReplayedError:
        payment = await _find_after_failure(database, stripe, top_up, first_attempt=mine)
    failpoints.reach("top_up.stripe_answered")
    async with database.transaction() as tx:
        return await adopt_payment(tx, top_up.id, payment.id), payment


async def _create_payment(database: Database, stripe: Stripe, top_up: TopUp) -> Payment:
    """Asks Stripe with what the row says, whatever a later release would ask for: a repeat must be the same."""
    payer = Payer(top_up.user_id, top_up.livemode, top_up.stripe_account)
    customer_id = top_up.customer_id or await _choose_customer(database, stripe, top_up, payer)
    try:
        return await _ask_for_payment(stripe, top_up, customer_id)
    except CustomerGoneError:
        await replace_customer(database, payer, customer_id)
        customer_id = await _choose_customer(database, stripe, top_up, payer)
    try:
        return await _ask_for_payment(stripe, top_up, customer_id)
    except CustomerGoneError:
        raise PaymentsUnavailableError(retry_after=LEASE.seconds) from None


async def _choose_customer(database: Database, stripe: Stripe, top_up: TopUp, payer: Payer) -> str:
    customer_id = await customer_of(database, stripe, payer)
    async with database.transaction() as tx:
        top_up = await lock_top_up(tx, top_up.id)
        await move_top_up(tx, top_up, top_up.state, reason=top_up.reason, customer_id=customer_id)
    return customer_id


async def _ask_for_payment(stripe: Stripe, top_up: TopUp, customer_id: str) -> Payment:
    return await stripe.create_payment(
        top_up.request_params | {"customer": customer_id}, idempotency_key=f"topup-create-{top_up.id}"
    )


async def _find_after_failure(database: Database, stripe: Stripe, top_up: TopUp, *, first_attempt: bool) -> Payment:
    """The payment that Stripe may have made before it failed. Asking again would only bring up the same failure.

    After the first attempt a payment may still come to light; after a later one there is none, and the row ends.
    """
    payment = await stripe.find_payment(str(top_up.id), created_from=top_up.created_at)
    if payment is not None:
        return payment
    if first_attempt:
        raise PaymentsUnavailableError(retry_after=LEASE.seconds)
    async with database.transaction() as tx:
        await give_up_creating(tx, top_up.id, reason="failed_at_stripe")
    raise PaymentRejectedError


async def adopt_payment(tx: Tx, top_up_id: UUID, payment_id: str) -> TopUp:
    """Notes which payment is this top-up's. An event may have done so before the answer of our own call was here."""
    top_up = await lock_top_up(tx, top_up_id)
    if top_up.payment_intent_id not in (None, payment_id):
        _logger.error("second_payment_for_top_up", top_up_id=str(top_up_id), payment_id=payment_id)
        return top_up
    state = State.AWAITING_PAYMENT if top_up.state is State.CREATING else top_up.state
    reason = "payment_open" if state is not top_up.state else top_up.reason
    return await move_top_up(tx, top_up, state, reason=reason, payment_intent_id=payment_id)


async def give_up_creating(tx: Tx, top_up_id: UUID, *, reason: str) -> None:
    """Ends a row that never got a payment, now that it is certain that there is none."""
    top_up = await lock_top_up(tx, top_up_id)
    if top_up.payment_intent_id is not None:
        return
    if top_up.state is State.CREATING:
        await move_top_up(tx, top_up, State.FAILED_TO_CREATE, reason=reason)
    elif top_up.state is State.CANCEL_REQUESTED:
        await move_top_up(tx, top_up, State.CANCELED, reason=reason)
