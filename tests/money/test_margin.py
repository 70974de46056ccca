"""From costs to prices: exact, one rounding, upwards, and a margin that can be read back."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantheon.money.margin import margin_of, parse_margin, price_of, rise_of, worth_of_price
from pantheon.money.price_change import PriceChange, price_changes
from pantheon.money.rate_card import MULTIPLIER_ONE, Meter, Rate

USUAL = Fraction(100, 3)


@pytest.mark.parametrize(
    ("cost", "margin", "price"),
    [
        # 0.15 dollars for a million, at 100/3 credits for a dollar: 5 credits, and 6.5 with the margin.
        (150_000_000, "0%", 5_000_000_000),
        (150_000_000, "30%", 6_500_000_000),
        (1, "0%", 34),
        (3, "0%", 100),
        (3, "0.0001%", 101),
        (0, "1000%", 0),
    ],
)
def test_a_price_is_the_cost_with_its_margin(cost: int, margin: str, price: int) -> None:
    assert price_of(cost, margin=parse_margin(margin), credits_per_dollar=USUAL) == price


@pytest.mark.parametrize("text", ["30", "0.3", "", "%", "-1%", "1000.0001%", "1e1%", "30 %", "30.00001%", "٣%", "NaN%"])
def test_a_margin_that_could_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_margin(text)


costs = st.integers(0, 10**15)
margins = st.integers(0, 10**7).map(lambda n: Fraction(n, 10**6))
rates = st.fractions(min_value=Fraction(1, 1000), max_value=10**6, max_denominator=10**6)


@given(costs, margins, rates)
def test_a_price_is_the_least_whole_one_that_is_not_below_the_exact_one(
    cost: int, margin: Fraction, rate: Fraction
) -> None:
    price = price_of(cost, margin=margin, credits_per_dollar=rate)

    assert 0 <= price - cost * rate * (1 + margin) < 1


@given(costs, st.integers(0, 1000), margins, rates)
def test_more_cost_or_more_margin_never_makes_a_price_lower(
    cost: int, more: int, margin: Fraction, rate: Fraction
) -> None:
    price = price_of(cost, margin=margin, credits_per_dollar=rate)

    assert price_of(cost + more, margin=margin, credits_per_dollar=rate) >= price
    assert price_of(cost, margin=margin + Fraction(more, 100), credits_per_dollar=rate) >= price


@given(st.integers(10**6, 10**13), st.integers(0, 10_000))
def test_the_margin_of_an_imported_price_is_the_one_that_was_asked_for(cost: int, tenths: int) -> None:
    price = price_of(cost, margin=Fraction(tenths, 1000), credits_per_dollar=USUAL)

    assert margin_of(price * MULTIPLIER_ONE, cost, credits_per_dollar=USUAL) == tenths


def test_margins_and_rises_that_cannot_be_told_are_not_invented() -> None:
    assert margin_of(10**15, 0, credits_per_dollar=USUAL) is None
    assert margin_of(0, 5, credits_per_dollar=USUAL) == -1000
    assert rise_of(0, 5) is None
    assert rise_of(0, 0) is None
    assert (rise_of(1000, 1301), rise_of(3, 2), rise_of(5, 0)) == (301, -333, -1000)
    assert worth_of_price(35 * 10**9 * MULTIPLIER_ONE, credits_per_major=USUAL) == 1_050_000_000


def rate(price: int, tool_call: int = 0, multiplier: int = MULTIPLIER_ONE) -> Rate:
    prices = dict.fromkeys(Meter, price) | {Meter.TOOL_CALL: tool_call}
    return Rate(model_alias="any", prices=prices, multiplier=multiplier)


def change(old: Rate | None, new: Rate | None, meter: Meter = Meter.OUTPUT) -> PriceChange:
    return next(item for item in price_changes(old, new) if item.meter is meter)


@pytest.mark.parametrize(
    ("old", "new", "steep"),
    [
        (rate(100), rate(130), False),
        (rate(100), rate(131), True),
        (rate(10**15), rate(13 * 10**14 + 1), True),
        (rate(100), rate(100, multiplier=1_300_000), False),
        (rate(100), rate(100, multiplier=1_300_001), True),
        (rate(0), rate(1), True),
        (rate(0), rate(0), False),
        (rate(100), rate(1), False),
        (None, rate(100), False),
        (rate(100), None, False),
    ],
)
def test_a_rise_of_more_than_30_percent_is_steep(old: Rate | None, new: Rate | None, steep: bool) -> None:
    assert change(old, new).is_steep is steep


@pytest.mark.parametrize(
    ("old", "new", "meter", "free"),
    [
        (rate(100), rate(0), Meter.OUTPUT, True),
        (None, rate(0), Meter.CACHED_INPUT, True),
        (rate(100), rate(1), Meter.OUTPUT, False),
        # Most providers take nothing for calling tools.
        (None, rate(100), Meter.TOOL_CALL, False),
        (rate(100), rate(100), Meter.TOOL_CALL, False),
        (rate(100, tool_call=5), rate(100), Meter.TOOL_CALL, True),
        (rate(100), None, Meter.OUTPUT, False),
    ],
)
def test_what_becomes_free_is_seen(old: Rate | None, new: Rate | None, meter: Meter, free: bool) -> None:
    assert change(old, new, meter).is_free is free
