"""Pays a top-up at the sandbox with one of its test cards. Real cards never come here: they go to Stripe directly."""

from uuid import UUID

from pantheon.db.engine import Database
from pantheon.errors import InvalidInputError
from pantheon.money.top_up import PaymentStatus
from pantheon.payments.create_top_up import open_payment
from pantheon.payments.stripe.client import Stripe
from pantheon.payments.stripe.objects import Payment
from pantheon.payments.top_ups import get_top_up

_OVER = (PaymentStatus.PROCESSING, PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED)


async def pay_in_sandbox(
    database: Database, stripe: Stripe, *, user_id: UUID, top_up_id: UUID, card_number: str, return_url: str
) -> Payment:
    """The payment afterwards: paid, or waiting for what its `next_action_url` asks. A second click changes nothing.

    Raises NotFoundError, InvalidInputError for a number that is no test card, and PaymentDeclinedError.
    """
    # Imported where it is needed, so that an installation with real payments never loads the sandbox.
    from pantheon.payments.stripe.sandbox.cards import CARD_NUMBERS

    payment_method = CARD_NUMBERS.get("".join(card_number.split()))
    if payment_method is None:
        raise InvalidInputError("card_number must be one of the test cards")
    async with database.transaction() as tx:
        top_up = await get_top_up(tx, top_up_id, user_id=user_id)
    _, payment = await open_payment(database, stripe, top_up, mine=False)
    if payment.status in _OVER:
        return payment
    return await stripe.confirm_payment(payment.id, payment_method=payment_method, return_url=return_url)
