"""The rate card in force: one published version of all prices. A model without a rate cannot be called."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, or_, select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import rate_cards, rates
from pantheon.errors import InvariantError
from pantheon.money.rate_card import Meter, Rate

_COLUMNS = {
    Meter.INPUT: "input",
    Meter.CACHED_INPUT: "cached_input",
    Meter.CACHE_WRITE: "cache_write",
    Meter.OUTPUT: "output",
    Meter.REASONING: "reasoning",
    Meter.TOOL_CALL: "tool_call",
}


@dataclass(frozen=True)
class Model:
    """A model as it can be called and is charged for."""

    rate: Rate
    provider: str
    provider_model: str
    context_tokens: int
    max_output_tokens: int

    @property
    def alias(self) -> str:
        return self.rate.model_alias


@dataclass(frozen=True)
class RateCard:
    version: int
    models: tuple[Model, ...]

    def find(self, alias: str) -> Model | None:
        return next((model for model in self.models if model.alias == alias), None)


async def view_rate_card(database: Database) -> RateCard:
    async with database.transaction() as tx:
        return await card_in_force(tx)


async def card_in_force(tx: Tx, at: datetime | None = None) -> RateCard:
    """Now, by the database's clock, which is the same for all processes."""
    query = (
        select(rates)
        .join(rate_cards, rate_cards.c.version == rates.c.version)
        .where(in_force(at))
        .order_by(rates.c.model_alias)
    )
    rows = (await tx.execute(query)).mappings().all()
    if not rows:
        raise InvariantError("no rate card is in force")
    return RateCard(rows[0]["version"], tuple(_model(row) for row in rows))


def in_force(at: datetime | None = None) -> ColumnElement[bool]:
    time = func.now() if at is None else at
    return (rate_cards.c.effective_at <= time) & or_(
        rate_cards.c.effective_until.is_(None), rate_cards.c.effective_until > time
    )


def row_of(version: int, model: Model) -> dict[str, Any]:
    costs: Mapping[Meter, int | None] = model.rate.costs or dict.fromkeys(Meter)
    return {
        "version": version,
        "model_alias": model.alias,
        "provider": model.provider,
        "provider_model": model.provider_model,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "multiplier": model.rate.multiplier,
        **{f"{name}_price": model.rate.prices[meter] for meter, name in _COLUMNS.items()},
        **{f"{name}_cost": costs[meter] for meter, name in _COLUMNS.items()},
    }


def _model(row: RowMapping) -> Model:
    costs = {meter: row[f"{name}_cost"] for meter, name in _COLUMNS.items()}
    return Model(
        Rate(
            model_alias=row["model_alias"],
            prices={meter: row[f"{name}_price"] for meter, name in _COLUMNS.items()},
            multiplier=row["multiplier"],
            costs=None if None in costs.values() else costs,
        ),
        row["provider"],
        row["provider_model"],
        row["context_tokens"],
        row["max_output_tokens"],
    )
