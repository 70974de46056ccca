from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantheon.money.amounts import NANOCREDITS, format_credits
from pantheon.money.rate_card import (
    MAX_PRICE,
    MAX_QUANTITY,
    MULTIPLIER_ONE,
    Meter,
    Rate,
    Usage,
    affordable_output,
    charge,
    cost,
    most,
)

USUAL = Rate(
    model_alias="gpt-4o-mini",
    prices={
        # 0.35, 0.10 and 1.00 credits for ten thousand tokens.
        Meter.INPUT: 35 * NANOCREDITS,
        Meter.CACHED_INPUT: 10 * NANOCREDITS,
        Meter.CACHE_WRITE: 35 * NANOCREDITS,
        Meter.OUTPUT: 100 * NANOCREDITS,
        Meter.REASONING: 100 * NANOCREDITS,
        Meter.TOOL_CALL: 0,
    },
)


@pytest.mark.parametrize(
    ("multiplier", "usage", "credits"),
    [
        ("1", Usage(input=10_000, output=10_000), "1.35"),
        ("1", Usage(input=10_000, cached_input=4_000, output=1), "0.2501"),
        ("2", Usage(input=1_000, output=500), "0.17"),
        ("0.5", Usage(input=1_000, output=500), "0.0425"),
        ("0.8", Usage(input=1), "0.000028"),
        ("1.5", Usage(output=1_000, reasoning=900), "0.15"),
        ("1", Usage(), "0"),
        # 35,000 nanocredits for one token, of which a millionth is a fraction that goes up to the next nanocredit.
        ("0.000001", Usage(input=1), "0.000000001"),
    ],
)
def test_the_usual_rate_is_charged_exactly(multiplier: str, usage: Usage, credits: str) -> None:
    whole, _, fraction = multiplier.partition(".")
    rate = replace(USUAL, multiplier=int(whole + fraction.ljust(6, "0")))

    assert format_credits(charge(rate, usage).total) == credits


def test_each_token_is_on_one_line_only() -> None:
    usage = Usage(input=100, cached_input=30, cache_write=20, output=50, reasoning=40, tool_calls=2)

    lines = charge(USUAL, usage).lines

    assert {line.meter: line.quantity for line in lines} == {
        Meter.INPUT: 50,
        Meter.CACHED_INPUT: 30,
        Meter.CACHE_WRITE: 20,
        Meter.OUTPUT: 10,
        Meter.REASONING: 40,
        Meter.TOOL_CALL: 2,
    }


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"input": -1}, "must be between"),
        ({"input": MAX_QUANTITY + 1}, "must be between"),
        ({"input": 10, "cached_input": 6, "cache_write": 5}, "cached input"),
        ({"output": 10, "reasoning": 11}, "reasoning"),
        ({"tool_calls": -1}, "must be between"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(counts: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Usage(**counts)


@pytest.mark.parametrize("price", [-1, MAX_PRICE + 1])
def test_a_price_is_never_negative_nor_absurd(price: int) -> None:
    with pytest.raises(ValueError, match="price"):
        replace(USUAL, prices={**USUAL.prices, Meter.OUTPUT: price})


@pytest.mark.parametrize("multiplier", [0, -1, 100 * MULTIPLIER_ONE + 1])
def test_a_multiplier_is_above_zero_and_at_most_100(multiplier: int) -> None:
    with pytest.raises(ValueError, match="multiplier"):
        replace(USUAL, multiplier=multiplier)


def test_a_meter_without_a_price_is_refused() -> None:
    prices = dict(USUAL.prices)
    del prices[Meter.REASONING]

    with pytest.raises(ValueError, match="every meter"):
        replace(USUAL, prices=prices)


def test_an_unknown_cost_is_not_zero() -> None:
    costs = dict.fromkeys(Meter, 150 * 10**6)

    assert cost(USUAL, Usage(input=10)) is None
    assert cost(replace(USUAL, costs=costs), Usage(input=10, output=1)) == 1650
    assert cost(replace(USUAL, costs=dict.fromkeys(Meter, 1)), Usage(input=1)) == 1


prices = st.fixed_dictionaries({meter: st.integers(0, 10**15) for meter in Meter})
rates = st.builds(Rate, model_alias=st.just("any"), prices=prices, multiplier=st.integers(1, 100 * MULTIPLIER_ONE))


@st.composite
def usages(draw: st.DrawFn, most_tokens: int = 200_000) -> Usage:
    input_tokens, output = draw(st.integers(0, most_tokens)), draw(st.integers(0, most_tokens))
    cached = draw(st.integers(0, input_tokens))
    return Usage(
        input=input_tokens,
        cached_input=cached,
        cache_write=draw(st.integers(0, input_tokens - cached)),
        output=output,
        reasoning=draw(st.integers(0, output)),
        tool_calls=draw(st.integers(0, 50)),
    )


@given(rates, usages())
def test_the_sum_of_the_lines_is_the_total_and_never_below_the_exact_price(rate: Rate, usage: Usage) -> None:
    made = charge(rate, usage)
    exact = sum(quantity * rate.unit_price(meter) for meter, quantity in usage.quantities().items())

    assert sum(line.amount for line in made.lines) == made.total
    assert exact <= made.total * 10**12 < exact + len(Meter) * 10**12


@given(rates, usages(), st.integers(0, 1_000), st.integers(0, 1_000))
def test_no_call_within_its_bounds_costs_more_than_the_worst_case(
    rate: Rate, usage: Usage, spare_input: int, spare_output: int
) -> None:
    worst = most(
        rate,
        input_tokens=usage.input + spare_input,
        max_output_tokens=usage.output + spare_output,
        tool_calls=usage.tool_calls,
    )

    assert charge(rate, usage).total <= worst


@given(rates, st.integers(0, 10**15), st.integers(0, 100_000), st.integers(0, 100_000))
def test_the_affordable_output_is_the_most_that_the_funds_cover(
    rate: Rate, funds: int, input_tokens: int, at_most: int
) -> None:
    output = affordable_output(rate, funds=funds, input_tokens=input_tokens, at_most=at_most)

    if output >= 0:
        assert most(rate, input_tokens=input_tokens, max_output_tokens=output) <= funds
    if output < at_most:
        assert most(rate, input_tokens=input_tokens, max_output_tokens=output + 1) > funds
