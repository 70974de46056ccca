"""An operator makes one model dearer or cheaper."""

from dataclasses import replace

from pantheon import audit
from pantheon.db.engine import Database
from pantheon.errors import InvalidInputError, NotFoundError, RateCardChangedError
from pantheon.money.amounts import format_decimal, parse_decimal
from pantheon.money.rate_card import MAX_MULTIPLIER, MULTIPLIER_DECIMALS
from pantheon.turns.publish_rate_card import publish
from pantheon.turns.rate_cards import Model, RateCard, card_in_force


async def set_multiplier(
    database: Database, actor: audit.Actor, *, model_alias: str, multiplier: str, based_on: str
) -> RateCard:
    """Publishes a version that differs in this multiplier; the card in force where it is that already.

    Raises InvalidInputError, NotFoundError, and RateCardChangedError when `based_on` is not in force (any more).
    """
    try:
        millionths = parse_decimal(multiplier, decimals=MULTIPLIER_DECIMALS)
    except ValueError as error:
        raise InvalidInputError(f"multiplier {error}") from None
    if not 0 < millionths <= MAX_MULTIPLIER:
        raise InvalidInputError("multiplier must be greater than 0 and at most 100")
    async with database.transaction() as tx:
        card = await card_in_force(tx)
        model = card.find(model_alias)
        if model is None:
            raise NotFoundError("Model alias not found for pricing version.")
        if str(card.version) != based_on:
            raise RateCardChangedError
        changed = replace(model, rate=replace(model.rate, multiplier=millionths))
        return await publish(
            tx,
            actor,
            models=[changed if other is model else other for other in card.models],
            based_on=card.version,
            note=f"{model_alias} × {format_multiplier(changed)}",
            # Who sets a multiplier has named the model.
            confirmed={model_alias},
        )


def format_multiplier(model: Model) -> str:
    return format_decimal(model.rate.multiplier, decimals=MULTIPLIER_DECIMALS)
