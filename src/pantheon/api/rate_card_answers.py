"""Rate cards as programs read them, over HTTP and from the command line. Prices are credits for a million units."""

from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from pantheon.money.amounts import CREDIT_DECIMALS, format_credits, format_decimal
from pantheon.money.margin import margin_of
from pantheon.money.price_change import PriceChange
from pantheon.money.rate_card import MULTIPLIER_DECIMALS, Meter
from pantheon.turns.compare_rate_cards import ModelChange, compare, confirmations
from pantheon.turns.import_rates import Proposal
from pantheon.turns.rate_cards import Model, RateCard, Version
from pantheon.turns.set_multiplier import format_multiplier

_DOLLAR_DECIMALS = 9


class CardModelAnswer(BaseModel):
    model_alias: str
    provider: str
    provider_model: str
    context_tokens: int
    max_output_tokens: int
    multiplier: str
    prices: dict[Meter, str] = Field(description="Before the multiplier.")
    costs: dict[Meter, str] | None = Field(description="Dollars that the provider takes for a million; null: unknown.")
    margin_percent: dict[Meter, str | None] | None = Field(description="What is put on top of the cost.")

    @classmethod
    def of(cls, model: Model, credits_per_dollar: Fraction | None) -> Self:
        rate = model.rate
        margins = None
        if rate.costs is not None and credits_per_dollar is not None:
            margins = {
                meter: _percent(margin_of(rate.unit_price(meter), cost, credits_per_dollar=credits_per_dollar))
                for meter, cost in rate.costs.items()
            }
        return cls(
            model_alias=model.alias,
            provider=model.provider,
            provider_model=model.provider_model,
            context_tokens=model.context_tokens,
            max_output_tokens=model.max_output_tokens,
            multiplier=format_multiplier(model),
            prices={meter: format_credits(price) for meter, price in rate.prices.items()},
            costs=None if rate.costs is None else {meter: dollars(cost) for meter, cost in rate.costs.items()},
            margin_percent=margins,
        )


class VersionAnswer(BaseModel):
    version: int
    in_force: bool
    effective_at: datetime
    effective_until: datetime | None
    published_at: datetime
    published_by: UUID | None
    note: str
    model_count: int

    @classmethod
    def of(cls, version: Version) -> Self:
        return cls(
            version=version.number,
            in_force=version.in_force,
            effective_at=version.effective_at,
            effective_until=version.effective_until,
            published_at=version.published_at,
            published_by=version.published_by,
            note=version.note,
            model_count=version.models,
        )


class RateCardAnswer(BaseModel):
    version: VersionAnswer
    models: list[CardModelAnswer]

    @classmethod
    def of_card(cls, version: Version, card: RateCard, credits_per_dollar: Fraction | None) -> Self:
        models = [CardModelAnswer.of(model, credits_per_dollar) for model in card.models]
        return cls(version=VersionAnswer.of(version), models=models)


class PriceChangeAnswer(BaseModel):
    """Prices with their multiplier."""

    meter: Meter
    old_price: str | None
    new_price: str | None
    change_percent: str | None
    cost: str | None
    margin_percent: str | None

    @classmethod
    def of(cls, price: PriceChange, credits_per_dollar: Fraction | None) -> Self:
        margin = None
        if price.new is not None and price.cost is not None and credits_per_dollar is not None:
            margin = margin_of(price.new, price.cost, credits_per_dollar=credits_per_dollar)
        return cls(
            meter=price.meter,
            old_price=None if price.old is None else unit_price(price.old),
            new_price=None if price.new is None else unit_price(price.new),
            change_percent=_percent(price.rise),
            cost=None if price.cost is None else dollars(price.cost),
            margin_percent=_percent(margin),
        )


class ModelChangeAnswer(BaseModel):
    model_alias: str
    kind: Literal["new", "changed", "gone"]
    needs_confirmation: list[str] = Field(description="The reasons. Empty: it needs none.")
    prices: list[PriceChangeAnswer]

    @classmethod
    def of(cls, change: ModelChange, credits_per_dollar: Fraction | None) -> Self:
        return cls(
            model_alias=change.alias,
            kind=change.kind,
            needs_confirmation=change.reasons,
            prices=[PriceChangeAnswer.of(price, credits_per_dollar) for price in change.prices],
        )


class DiffAnswer(BaseModel):
    old_version: int
    new_version: int | None = Field(description="Null for what is not published yet.")
    changes: list[ModelChangeAnswer]

    @classmethod
    def between(cls, old: RateCard, new: RateCard, credits_per_dollar: Fraction | None) -> Self:
        changes = [ModelChangeAnswer.of(change, credits_per_dollar) for change in compare(old.models, new.models)]
        return cls(old_version=old.version, new_version=new.version, changes=changes)


class PreviewAnswer(DiffAnswer):
    to_confirm: list[str] = Field(description="Aliases that `confirm` has to name for this to be published.")
    refused: dict[str, str] = Field(description="Models of the price list that are not imported, and why.")

    @classmethod
    def of(cls, proposal: Proposal, credits_per_dollar: Fraction | None, confirmed: Iterable[str] = ()) -> Self:
        changes = proposal.changes
        return cls(
            old_version=proposal.replaces.version,
            new_version=None,
            changes=[ModelChangeAnswer.of(change, credits_per_dollar) for change in changes],
            to_confirm=[alias for alias in confirmations(changes) if alias not in set(confirmed)],
            refused=proposal.refused,
        )


def unit_price(price: int) -> str:
    """Of `Rate.unit_price`, exactly."""
    return format_decimal(price, decimals=CREDIT_DECIMALS + MULTIPLIER_DECIMALS)


def dollars(cost: int) -> str:
    return format_decimal(cost, decimals=_DOLLAR_DECIMALS, least=2)


def _percent(tenths: int | None) -> str | None:
    return None if tenths is None else format_decimal(tenths, decimals=1)
