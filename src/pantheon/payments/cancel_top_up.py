"""Ends a top-up that was not paid. Only Stripe's word ends it: a payment may win the race against us."""

from typing import Literal
from uuid import UUID

from pantheon.db.engine import Database
from pantheon.errors import ConflictError, PaymentsUnavailableError
from pantheon.money.top_up import CLOSED_UNPAID, State
from pantheon.payments.fulfil import News, fulfil
from pantheon.payments.stripe.client import Stripe
from pantheon.payments.top_ups import TopUp, get_top_up, lock_top_up, move_top_up

_CANCELLABLE = (State.CREATING, State.AWAITING_PAYMENT, State.CANCEL_REQUESTED)


async def cancel_top_up(database: Database, stripe: Stripe | None, *, user_id: UUID, top_up_id: UUID) -> TopUp:
    """The top-up as it is now; already ended is fine. Where Stripe cannot be reached the sweep goes on with it.

    Raises NotFoundError, and ConflictError once it is paid or the payment is on its way.
    """
    async with database.transaction() as tx:
        await get_top_up(tx, top_up_id, user_id=user_id)
    top_up = await request_cancellation(database, top_up_id, reason="user")
    if top_up.state is State.CANCEL_REQUESTED and stripe is not None:
        try:
            top_up = await finish_cancellation(database, stripe, top_up)
        except PaymentsUnavailableError:
            return top_up
    if top_up.state not in CLOSED_UNPAID and top_up.state is not State.CANCEL_REQUESTED:
        raise ConflictError("This top-up cannot be cancelled: it is paid or its payment is on the way.")
    return top_up


async def request_cancellation(database: Database, top_up_id: UUID, *, reason: Literal["user", "expiry"]) -> TopUp:
    """Notes the wish, where the state allows it, so that it is carried out whatever happens next."""
    async with database.transaction() as tx:
        top_up = await lock_top_up(tx, top_up_id)
        if top_up.state not in _CANCELLABLE or top_up.state is State.CANCEL_REQUESTED:
            return top_up
        return await move_top_up(
            tx, top_up, State.CANCEL_REQUESTED, reason=f"canceled_by_{reason}", cancel_reason=reason
        )


async def finish_cancellation(database: Database, stripe: Stripe, top_up: TopUp) -> TopUp:
    """Cancels the payment at Stripe and takes in what it says. Without a payment yet, the sweep comes back to it."""
    if top_up.payment_intent_id is None:
        return top_up
    payment = await stripe.cancel_payment(top_up.payment_intent_id)
    async with database.transaction() as tx:
        top_up, _ = await fulfil(tx, top_up.id, News(payment, account=None))
        return top_up
