"""A new version of the rate card takes over from the one in force. What was published is never edited."""

from collections.abc import Iterable

from sqlalchemy import func, insert, select, update

from pantheon import audit
from pantheon.db import locks
from pantheon.db.engine import Tx
from pantheon.db.locks import Lock
from pantheon.db.tables import rate_cards, rates
from pantheon.errors import RateCardChangedError
from pantheon.turns.rate_cards import Model, RateCard, card_in_force, in_force, row_of


async def publish_rate_card(
    tx: Tx, actor: audit.Actor, *, models: Iterable[Model], based_on: int, note: str
) -> RateCard:
    """In force at once.

    `based_on` is the version that the author read. Raises RateCardChangedError when another one is in force by now:
    whoever publishes must have seen what they replace.
    """
    await locks.take(tx, Lock.RATE_CARD)
    # Not now(), which is when this transaction began: perhaps before another version that it waited for.
    at = await tx.scalar(select(func.clock_timestamp()))
    if (await card_in_force(tx, at)).version != based_on:
        raise RateCardChangedError
    version = int(await tx.scalar(select(func.max(rate_cards.c.version))) or 0) + 1
    # A version that is to come stays to come.
    until = await tx.scalar(select(func.min(rate_cards.c.effective_at)).where(rate_cards.c.effective_at > at))
    await tx.execute(update(rate_cards).where(in_force(at)).values(effective_until=at))
    await tx.execute(
        insert(rate_cards).values(
            version=version, effective_at=at, effective_until=until, published_by=actor.user_id, note=note
        )
    )
    card = RateCard(version, tuple(models))
    await tx.execute(insert(rates), [row_of(version, model) for model in card.models])
    await audit.record(tx, actor, "rate_card.published", subject=f"rate_card:{version}", note=note, based_on=based_on)
    return card
