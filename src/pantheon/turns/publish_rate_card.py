"""A new version of the rate card takes over from the one in force. What was published is never edited."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import func, insert, select, update

from pantheon import audit
from pantheon.db import locks
from pantheon.db.engine import Database, Tx
from pantheon.db.locks import Lock
from pantheon.db.tables import rate_cards, rates
from pantheon.errors import ConflictError, InvalidInputError, PricesNeedConfirmationError, RateCardChangedError
from pantheon.turns.compare_rate_cards import compare, confirmations
from pantheon.turns.rate_cards import Model, RateCard, card_to_replace, in_force, row_of

MOST_MODELS = 2_000


async def publish_rate_card(
    database: Database,
    actor: audit.Actor,
    *,
    models: Iterable[Model],
    based_on: int,
    note: str,
    effective_at: datetime | None = None,
    confirmed: Collection[str] = (),
) -> RateCard:
    """As `publish`, in a transaction of its own."""
    async with database.transaction() as tx:
        return await publish(
            tx,
            actor,
            models=models,
            based_on=based_on,
            note=note,
            effective_at=effective_at,
            confirmed=confirmed,
        )


async def publish(
    tx: Tx,
    actor: audit.Actor,
    *,
    models: Iterable[Model],
    based_on: int,
    note: str,
    effective_at: datetime | None = None,
    confirmed: Collection[str] = (),
) -> RateCard:
    """In force at once, or from `effective_at`. Where nothing differs, the card that would be replaced.

    `based_on` is the version that the author read and that this one replaces. Raises RateCardChangedError when another
    one is in force at that time: whoever publishes must have seen what they replace. Raises PricesNeedConfirmationError
    unless `confirmed` has the alias of every model with a price that is free or rises steeply; InvalidInputError.
    """
    new = sorted(models, key=lambda model: model.alias)
    _check(new)
    await locks.take(tx, Lock.RATE_CARD)
    replaced, at = await card_to_replace(tx, effective_at)
    if replaced.version != based_on:
        raise RateCardChangedError
    changes = compare(replaced.models, new)
    if not changes:
        return replaced
    missing = {alias: why for alias, why in confirmations(changes).items() if alias not in confirmed}
    if missing:
        raise _unconfirmed(missing)
    return await _insert(tx, actor, new, at=at, based_on=based_on, note=note)


async def _insert(
    tx: Tx, actor: audit.Actor, models: list[Model], *, at: datetime, based_on: int, note: str
) -> RateCard:
    if await tx.scalar(select(rate_cards.c.version).where(rate_cards.c.effective_at == at)):
        raise ConflictError("Another version begins at this very moment. Choose another effective_at.")
    version = int(await tx.scalar(select(func.max(rate_cards.c.version))) or 0) + 1
    # A version that is to come stays to come.
    until = await tx.scalar(select(func.min(rate_cards.c.effective_at)).where(rate_cards.c.effective_at > at))
    await tx.execute(update(rate_cards).where(in_force(at)).values(effective_until=at))
    await tx.execute(
        insert(rate_cards).values(
            version=version, effective_at=at, effective_until=until, published_by=actor.user_id, note=note
        )
    )
    await tx.execute(insert(rates), [row_of(version, model) for model in models])
    await audit.record(
        tx,
        actor,
        "rate_card.published",
        subject=f"rate_card:{version}",
        note=note,
        based_on=based_on,
        effective_at=at.isoformat(),
    )
    return RateCard(version, tuple(models))


def _check(models: list[Model]) -> None:
    if not 0 < len(models) <= MOST_MODELS:
        raise InvalidInputError(f"A rate card has between 1 and {MOST_MODELS} models")
    for alias, times in Counter(model.alias for model in models).items():
        if times > 1:
            raise InvalidInputError(f"The model {alias} is there twice")


def _unconfirmed(missing: dict[str, list[str]]) -> PricesNeedConfirmationError:
    told = "; ".join(f"{alias} ({', '.join(why)})" for alias, why in list(missing.items())[:5])
    more = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
    return PricesNeedConfirmationError(
        f"Confirm these models by name: {told}{more}.",
        models=[{"model_alias": alias, "reasons": why} for alias, why in missing.items()],
    )
