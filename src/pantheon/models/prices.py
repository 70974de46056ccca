"""Price lists of others as what a provider takes: nano-dollars for a million units of each meter, exactly.

A price that is negative, unknown or not exact makes its model one that is refused with a reason. It is never guessed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pantheon import clock
from pantheon.exact_json import NumberLiteral
from pantheon.money.rate_card import MAX_PRICE, UNITS, Meter

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

Costs = Mapping[Meter, int]

_NANO = 10**9
_MAX_TOKENS = 10**9
_DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,30})?([eE]-?[0-9]{1,2})?")

_OPENROUTER = {
    "prompt": Meter.INPUT,
    "completion": Meter.OUTPUT,
    "input_cache_read": Meter.CACHED_INPUT,
    "input_cache_write": Meter.CACHE_WRITE,
    "internal_reasoning": Meter.REASONING,
    "web_search": Meter.TOOL_CALL,
}
_GENAI_PRICES = {
    "input_mtok": Meter.INPUT,
    "output_mtok": Meter.OUTPUT,
    "cache_read_mtok": Meter.CACHED_INPUT,
    "cache_write_mtok": Meter.CACHE_WRITE,
    "output_reasoning_mtok": Meter.REASONING,
    "web_searches_kcount": Meter.TOOL_CALL,
}
_CANNOT_OCCUR = {"storage_searches_kcount"}
"""Fees of tools that chat completions do not have."""

_SAME_AS = {Meter.CACHED_INPUT: Meter.INPUT, Meter.CACHE_WRITE: Meter.INPUT, Meter.REASONING: Meter.OUTPUT}
"""A provider that names no price of its own for these takes that of the other."""


@dataclass(frozen=True)
class Limits:
    """Tokens that a model takes and gives, as far as the list says so: None is not known."""

    context_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True)
class PriceList:
    costs: dict[str, Costs] = field(default_factory=dict)
    """By the provider's id of the model."""
    limits: dict[str, Limits] = field(default_factory=dict)
    """Of every model among the costs."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why a model is not among the costs."""


def from_openrouter(document: Any) -> PriceList:
    """Reads `{data: [{id, pricing: {…}}]}`, dollars for one token as decimal strings. Raises ValueError."""
    models = document.get("data") if isinstance(document, dict) else None
    if not isinstance(models, list):
        raise ValueError("a price list is an object with a list named data")
    return _listed(((_id_of(model), model.get("pricing"), _limits_of(model)) for model in models), _openrouter_costs)


def from_genai_prices(provider: str) -> PriceList:
    """What the genai-prices package knows of a provider, from its own data. Raises ValueError for an unknown one."""
    from genai_prices.data_snapshot import get_snapshot

    found = next((known for known in get_snapshot().providers if known.id == provider), None)
    if found is None:
        raise ValueError(f"genai-prices does not know a provider {provider}")
    return _listed(
        ((model.id, model, Limits(context_tokens=model.context_window)) for model in found.models), _genai_costs
    )


def _listed(models: Iterable[tuple[str, Any, Limits]], read: Callable[[Any], Costs]) -> PriceList:
    prices = PriceList()
    for name, pricing, limits in models:
        try:
            if name in prices.costs or name in prices.refused:
                prices.costs.pop(name, None)
                raise ValueError("it is in the list twice")
            prices.costs[name] = read(pricing)
            prices.limits[name] = limits
        except ValueError as error:
            prices.refused[name] = str(error)
    return prices


def _id_of(model: Any) -> str:
    name = model.get("id") if isinstance(model, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise ValueError("a model in the list has no id")
    return name


def _limits_of(model: Mapping[str, Any]) -> Limits:
    best = model.get("top_provider")
    return Limits(
        _tokens(model.get("context_length")),
        _tokens(best.get("max_completion_tokens")) if isinstance(best, dict) else None,
    )


def _tokens(value: Any) -> int | None:
    return value if type(value) is int and 0 < value <= _MAX_TOKENS else None


def _openrouter_costs(pricing: Any) -> Costs:
    if not isinstance(pricing, dict):
        raise ValueError("it has no prices")
    per_unit = {name: _fraction(name, value) for name, value in pricing.items() if value is not None}
    return _costs(per_unit, _OPENROUTER)


def _genai_costs(model: "ModelInfo") -> Costs:
    """As of today: a price may have a date from which it holds, but not hours of the day, nor sizes of a request."""
    from genai_prices.types import TieredPrices, TimeOfDateConstraint

    if isinstance(model.prices, list) and any(isinstance(p.constraint, TimeOfDateConstraint) for p in model.prices):
        raise ValueError("its prices change with the time of the day")
    told = {name: value for name, value in vars(model.get_prices(clock.now())).items() if value is not None}
    if any(isinstance(value, TieredPrices) for value in told.values()):
        raise ValueError("its prices change with the size of the request")
    per_unit = {
        name: _fraction(name, value) / (1000 if name.endswith("_kcount") else UNITS) for name, value in told.items()
    }
    return _costs(per_unit, _GENAI_PRICES)


def _costs(per_unit: Mapping[str, Fraction], names: Mapping[str, Meter]) -> Costs:
    """Costs from dollars for one unit."""
    for name, dollars in per_unit.items():
        if dollars < 0:
            raise ValueError(f"its price {name} is negative")
        if dollars and name not in names and name not in _CANNOT_OCCUR:
            raise ValueError(f"its price {name} is for something that is not measured here")
    exact = {names[name]: dollars * _NANO * UNITS for name, dollars in per_unit.items() if name in names}
    for needed in (Meter.INPUT, Meter.OUTPUT):
        if needed not in exact:
            raise ValueError(f"it has no price for {needed}")
    for meter, other in _SAME_AS.items():
        exact.setdefault(meter, exact[other])
    exact.setdefault(Meter.TOOL_CALL, Fraction(0))
    return {meter: _whole(meter, exact[meter]) for meter in Meter}


def _whole(meter: Meter, cost: Fraction) -> int:
    if cost.denominator != 1:
        raise ValueError(f"its price for {meter} is finer than a nano-dollar for a million")
    if cost > MAX_PRICE:
        raise ValueError(f"its price for {meter} is beyond any that is meant")
    return cost.numerator


def _fraction(name: str, value: Any) -> Fraction:
    if isinstance(value, Decimal) and value.is_finite():
        return Fraction(value)
    if isinstance(value, NumberLiteral | str) and _DECIMAL.fullmatch(value):
        return Fraction(value)
    if type(value) is int:
        return Fraction(value)
    raise ValueError(f"its price {name} is not one plain number")
