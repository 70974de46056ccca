"""The customer at Stripe with whom a user's payments are made: made when first needed, and once.

The row is there before Stripe hears of it, and its idempotency key makes the same customer for all who ask at once.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects.postgresql import insert

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import stripe_customers as customers
from pantheon.errors import PaymentsUnavailableError
from pantheon.payments.stripe.client import Stripe
from pantheon.payments.stripe.failures import FailureReplayedError


@dataclass(frozen=True)
class Payer:
    """A user at one Stripe account, in one mode: customers of one are not known to another."""

    user_id: UUID
    livemode: bool
    account: str | None


async def customer_of(database: Database, stripe: Stripe, payer: Payer) -> str:
    """Raises PaymentsUnavailableError and PaymentRejectedError."""
    async with database.transaction() as tx:
        generation, customer_id = await _find_or_begin(tx, payer)
    if customer_id is not None:
        return customer_id
    try:
        customer_id = await stripe.create_customer(
            str(payer.user_id), idempotency_key=f"customer-{payer.user_id}-{generation}"
        )
    except FailureReplayedError:
        # A second customer, should there be one already, costs nothing; the next request makes it.
        await _begin_generation(database, payer, customers.c.generation == generation)
        raise PaymentsUnavailableError(retry_after=1) from None
    async with database.transaction() as tx:
        await tx.execute(
            update(customers).where(*_is(payer), customers.c.generation == generation).values(customer_id=customer_id)
        )
    return customer_id


async def replace_customer(database: Database, payer: Payer, gone: str) -> None:
    """Lets the next payment have a new customer, because Stripe does not have `gone` any more."""
    await _begin_generation(database, payer, customers.c.customer_id == gone)


async def _find_or_begin(tx: Tx, payer: Payer) -> tuple[int, str | None]:
    await tx.execute(
        insert(customers)
        .values(user_id=payer.user_id, livemode=payer.livemode, account=payer.account)
        .on_conflict_do_nothing()
    )
    row = (await tx.execute(select(customers.c.generation, customers.c.customer_id).where(*_is(payer)))).one()
    return row.generation, row.customer_id


async def _begin_generation(database: Database, payer: Payer, still: ColumnElement[bool]) -> None:
    """Unless somebody else has done so: `still` describes the row as it was seen."""
    async with database.transaction() as tx:
        await tx.execute(
            update(customers).where(*_is(payer), still).values(generation=customers.c.generation + 1, customer_id=None)
        )


def _is(payer: Payer) -> tuple[ColumnElement[bool], ...]:
    return (
        customers.c.user_id == payer.user_id,
        customers.c.livemode == payer.livemode,
        customers.c.account.is_not_distinct_from(payer.account),
    )
