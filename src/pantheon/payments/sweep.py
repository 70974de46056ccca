"""Finds what was left unfinished, by whatever died or could not be reached, and goes on with it. Runs every minute."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import top_ups
from pantheon.errors import PantheonError
from pantheon.money.top_up import State
from pantheon.payments.cancel_top_up import finish_cancellation, request_cancellation
from pantheon.payments.create_top_up import KEY_LIFE, adopt_payment, give_up_creating, open_payment
from pantheon.payments.fulfil import News, fulfil
from pantheon.payments.stripe.client import Stripe
from pantheon.payments.top_ups import TopUp, find_top_ups, get_top_up, move_top_up

_BATCH = 200
_SILENT = (State.AWAITING_PAYMENT, State.PROCESSING)
_SILENCE = timedelta(minutes=15)
"""How long an open payment may keep silent before it is looked at, and between two looks."""

_AT_ONCE = 5
"""Top-ups that are worked on at the same time: users need connections to the database, and turns at Stripe, as well."""

_logger = structlog.get_logger(__name__)


async def sweep_top_ups(database: Database, stripe: Stripe) -> None:
    now = clock.now()
    # Rows of the other mode, from before the keys were changed, are none that this key could ask about.
    ours, free = top_ups.c.livemode == stripe.livemode, top_ups.c.leased_until < now
    unfinished = await _find(database, ours, free, top_ups.c.state == State.CREATING)
    await _for_each(unfinished, lambda top_up: _finish_creating(database, stripe, top_up))
    silent = await _find(database, ours, free, top_ups.c.state.in_(_SILENT), top_ups.c.created_at < now - _SILENCE)
    await _for_each(silent, lambda top_up: _look_again(database, stripe, top_up))
    expired = await _find(database, ours, top_ups.c.state == State.AWAITING_PAYMENT, top_ups.c.expires_at < now)
    await _for_each(expired, lambda top_up: request_cancellation(database, top_up.id, reason="expiry"))
    unwanted = await _find(database, ours, free, top_ups.c.state == State.CANCEL_REQUESTED)
    await _for_each(unwanted, lambda top_up: _finish_cancelling(database, stripe, top_up))


async def _find(database: Database, *conditions: Any) -> list[TopUp]:
    async with database.transaction() as tx:
        return await find_top_ups(tx, *conditions, limit=_BATCH, oldest_first=True)


async def _for_each(found: list[TopUp], work: Callable[[TopUp], Awaitable[object]]) -> None:
    """One top-up's trouble must not keep the others waiting."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def attempt(top_up: TopUp) -> bool:
        async with turns:
            return await _attempt(top_up.id, work(top_up))

    results = await asyncio.gather(*map(attempt, found))
    if found:
        _logger.info("top_ups_swept", found=len(found), failed=results.count(False))


async def _attempt(top_up_id: UUID, work: Awaitable[object]) -> bool:
    try:
        await work
    except PantheonError as error:
        _logger.warning("sweep_failed", top_up_id=str(top_up_id), code=error.code)
        return False
    except Exception as error:
        _logger.error("sweep_failed", top_up_id=str(top_up_id), exc_info=error)
        return False
    return True


async def _finish_creating(database: Database, stripe: Stripe, top_up: TopUp) -> None:
    if top_up.created_at > clock.now() - KEY_LIFE:
        await open_payment(database, stripe, top_up, mine=False)
        return
    # The idempotency key is forgotten, so creating could pay twice: look for the payment instead.
    payment = await stripe.find_payment(str(top_up.id), created_from=top_up.created_at)
    async with database.transaction() as tx:
        if payment is None:
            await give_up_creating(tx, top_up.id, reason="never_reached_stripe")
        else:
            await adopt_payment(tx, top_up.id, payment.id)


async def _look_again(database: Database, stripe: Stripe, top_up: TopUp) -> None:
    """Asks how a payment stands of which nothing was heard for a while: its event may never have come."""
    assert top_up.payment_intent_id is not None
    payment = await stripe.retrieve_payment(top_up.payment_intent_id)
    async with database.transaction() as tx:
        top_up, _ = await fulfil(tx, top_up.id, News(payment, account=None))
        await move_top_up(tx, top_up, top_up.state, reason=top_up.reason, leased_until=clock.now() + _SILENCE)


async def _finish_cancelling(database: Database, stripe: Stripe, top_up: TopUp) -> None:
    if top_up.payment_intent_id is None:
        await _finish_creating(database, stripe, top_up)
        async with database.transaction() as tx:
            top_up = await get_top_up(tx, top_up.id)
    await finish_cancellation(database, stripe, top_up)
