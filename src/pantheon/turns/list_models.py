"""The models that can be called here."""

from collections.abc import Collection

from pantheon.db.engine import Database
from pantheon.money.rate_card import Usage, charge
from pantheon.turns.rate_cards import Model, view_rate_card

TYPICAL_TURN = Usage(input=2000, output=500)
"""What prices are compared by: a page of context, and an answer of some paragraphs."""


async def list_models(database: Database, *, providers: Collection[str]) -> list[Model]:
    """Those with a rate in the card in force, whose provider is one of this installation's."""
    card = await view_rate_card(database)
    return [model for model in card.models if model.provider in providers]


def price_of_typical_turn(model: Model) -> int:
    """Nanocredits."""
    return charge(model.rate, TYPICAL_TURN).total
