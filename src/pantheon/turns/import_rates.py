"""The price list of a provider, with a margin on top, as models for a new version of the rate card.

Nothing is published here: who imports reads first what would change. A model without a price is never imported, because
an unknown price is not zero.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from pantheon.errors import InvalidInputError
from pantheon.models.prices import Costs, Limits, PriceList, from_genai_prices, from_openrouter
from pantheon.money.margin import parse_margin, price_of
from pantheon.money.rate_card import Rate
from pantheon.settings import Settings
from pantheon.turns.compare_rate_cards import ModelChange, compare
from pantheon.turns.rate_cards import ALIAS, Model, RateCard

PROVIDER = re.compile(r"[a-z][a-z0-9_-]{0,31}")

_USUAL_MAX_OUTPUT = 8_192


@dataclass(frozen=True)
class RateImport:
    margin: str
    """As of `parse_margin`."""
    document: Any = None
    """Shaped like OpenRouter's list of models, read exactly; None for what the genai-prices package knows."""
    provider: str = "openrouter"
    """Who is called, by the name that this installation has for them."""
    only: Collection[str] = ()
    """Aliases, or ids in the list. Empty: the list replaces all models of the provider."""


@dataclass(frozen=True)
class Proposal:
    replaces: RateCard
    models: tuple[Model, ...]
    refused: dict[str, str]
    """By the id in the list: why it is not imported."""

    @property
    def changes(self) -> list[ModelChange]:
        return compare(self.replaces.models, self.models)


def propose_import(card: RateCard, request: RateImport, settings: Settings) -> Proposal:
    """What `card` would become. Raises InvalidInputError."""
    if settings.credits_per_dollar is None:
        raise InvalidInputError("Price lists are in US dollars, and credits are sold in another currency here")
    if not PROVIDER.fullmatch(request.provider):
        raise InvalidInputError("provider must be a name such as openrouter")
    try:
        margin = parse_margin(request.margin)
    except ValueError as error:
        raise InvalidInputError(f"margin {error}") from None
    reader = _Reader(card, request.provider, margin, settings.credits_per_dollar)
    return reader.propose(_price_list(request), frozenset(request.only))


def _price_list(request: RateImport) -> PriceList:
    try:
        if request.document is None:
            return from_genai_prices(request.provider)
        return from_openrouter(request.document)
    except ValueError as error:
        raise InvalidInputError(f"The price list cannot be read: {error}") from None


@dataclass(frozen=True)
class _Reader:
    card: RateCard
    provider: str
    margin: Fraction
    credits_per_dollar: Fraction

    def propose(self, prices: PriceList, only: frozenset[str]) -> Proposal:
        """Models of other providers, and those that `only` leaves out, stay as they are."""
        own = {model.alias: model for model in self.card.models if model.provider == self.provider}
        refused = dict(prices.refused)
        models = {
            model.alias: model
            for model in self.card.models
            if model.alias not in own or (only and not only & {model.alias, model.provider_model})
        }
        known = {model.provider_model for model in own.values()}
        wanted: list[tuple[str, str, Model | None]]
        wanted = [(alias, model.provider_model, model) for alias, model in own.items()]
        wanted += [(name, name, None) for name in prices.costs if name not in known]
        for alias, name, model in wanted:
            if name not in prices.costs or (only and not only & {alias, name}):
                continue
            try:
                if alias in models:
                    raise ValueError(f"the alias {alias} is that of another model")
                models[alias] = self._priced(alias, name, model, prices.costs[name], prices.limits[name])
            except ValueError as error:
                refused[name] = str(error)
        self._check_named(only, models, own, refused)
        kept = tuple(sorted(models.values(), key=lambda model: model.alias))
        return Proposal(self.card, kept, {} if only else refused)

    def _priced(self, alias: str, name: str, model: Model | None, costs: Costs, limits: Limits) -> Model:
        """A model that is on the card keeps its limits, which may be an operator's choice. Raises ValueError."""
        rate = Rate(
            model_alias=alias,
            prices={
                meter: price_of(cost, margin=self.margin, credits_per_dollar=self.credits_per_dollar)
                for meter, cost in costs.items()
            },
            costs=dict(costs),
        )
        if model is not None:
            return replace(model, rate=rate)
        if not ALIAS.fullmatch(alias):
            raise ValueError("its id cannot be an alias")
        if limits.context_tokens is None:
            raise ValueError("how many tokens it takes is not known")
        most = min(limits.context_tokens, limits.max_output_tokens or _USUAL_MAX_OUTPUT, _USUAL_MAX_OUTPUT)
        return Model(rate, self.provider, name, limits.context_tokens, most)

    def _check_named(
        self, only: frozenset[str], models: dict[str, Model], own: dict[str, Model], refused: dict[str, str]
    ) -> None:
        """Whoever names a model wants it: it is never left out in silence."""
        mine = [model for model in models.values() if model.provider == self.provider]
        found = {name for model in mine for name in (model.alias, model.provider_model)}
        asked = {name: own[name].provider_model if name in own else name for name in sorted(only - found)}
        told = [f"{name} ({refused.get(model, 'the list has no price for it')})" for name, model in asked.items()]
        if told:
            raise InvalidInputError(f"These models cannot be imported, so leave them out: {', '.join(told)}")
