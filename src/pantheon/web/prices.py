"""Rate cards as operators read them. Nothing is computed with these texts."""

from dataclasses import dataclass
from fractions import Fraction

from pantheon.money.amounts import CREDIT_DECIMALS, format_decimal
from pantheon.money.margin import margin_of, worth_of_price
from pantheon.money.price_change import PriceChange
from pantheon.money.rate_card import MULTIPLIER_DECIMALS, Meter
from pantheon.settings import Settings
from pantheon.turns.compare_rate_cards import ModelChange, format_percent
from pantheon.turns.rate_cards import Model
from pantheon.turns.set_multiplier import format_multiplier
from pantheon.web.amounts import MINUS, fine_money_text, grouped

METERS = {
    Meter.INPUT: "Input",
    Meter.CACHED_INPUT: "Cached input",
    Meter.CACHE_WRITE: "Cache write",
    Meter.OUTPUT: "Output",
    Meter.REASONING: "Reasoning",
    Meter.TOOL_CALL: "Tool calls",
}

_SHOWN_DECIMALS = 4
_NANO_DECIMALS = 9


@dataclass(frozen=True)
class Price:
    credits: str
    worth: str


@dataclass(frozen=True)
class Row:
    model: Model
    prices: dict[Meter, Price]
    """With the multiplier."""
    multiplier: str
    margin: str | None


@dataclass(frozen=True)
class Line:
    """One price of a model that changes."""

    meter: str
    old: str | None
    new: str | None
    rise: str | None
    cost: str | None
    margin: str | None
    warns: bool


@dataclass(frozen=True)
class Change:
    alias: str
    kind: str
    reasons: list[str]
    lines: list[Line]


def row_of(model: Model, settings: Settings) -> Row:
    rate = model.rate
    prices = {meter: _price(rate.unit_price(meter), settings) for meter in Meter}
    return Row(model, prices, format_multiplier(model), _margin(model, settings.credits_per_dollar))


def change_of(change: ModelChange, settings: Settings) -> Change:
    """What is gone has no lines. Tool calls that were free and stay so have none either."""
    lines = [
        _line(price, settings.credits_per_dollar)
        for price in change.prices
        if change.new is not None and (price.old or price.new or price.meter is not Meter.TOOL_CALL)
    ]
    return Change(change.alias, change.kind, change.reasons, lines)


def _line(price: PriceChange, credits_per_dollar: Fraction | None) -> Line:
    margin = None
    if price.new is not None and price.cost is not None and credits_per_dollar is not None:
        margin = margin_of(price.new, price.cost, credits_per_dollar=credits_per_dollar)
    return Line(
        METERS[price.meter],
        None if price.old is None else price_text(price.old),
        None if price.new is None else price_text(price.new),
        _rise(price),
        None if price.cost is None else f"${_fine(price.cost)}",
        None if margin is None else format_percent(margin),
        price.is_steep or (price.is_free and price.old != 0),
    )


def _rise(price: PriceChange) -> str | None:
    if price.rise is not None:
        return format_percent(price.rise, signed=True).replace("-", MINUS)
    if price.new == 0:
        return "free"
    return "was free" if price.old == 0 else None


def _price(unit_price: int, settings: Settings) -> Price:
    worth = worth_of_price(unit_price, credits_per_major=settings.credits_per_usd)
    return Price(price_text(unit_price), fine_money_text(worth, settings.money))


def _margin(model: Model, credits_per_dollar: Fraction | None) -> str | None:
    """One figure, or the least and the most of all meters; None where the cost is not known."""
    rate = model.rate
    if rate.costs is None or credits_per_dollar is None:
        return None
    found = [
        margin
        for meter, cost in rate.costs.items()
        if (margin := margin_of(rate.unit_price(meter), cost, credits_per_dollar=credits_per_dollar)) is not None
    ]
    if not found:
        return None
    least, most = format_decimal(min(found), decimals=1), format_percent(max(found))
    return most if min(found) == max(found) else f"{least} to {most}"


def price_text(unit_price: int) -> str:
    """Credits for a million, of `Rate.unit_price`: at most four decimals, rounded up."""
    step = 10 ** (CREDIT_DECIMALS + MULTIPLIER_DECIMALS - _SHOWN_DECIMALS)
    return grouped(-(-unit_price // step), decimals=_SHOWN_DECIMALS, least=0)


def _fine(nano: int) -> str:
    return grouped(nano, decimals=_NANO_DECIMALS, least=2)
