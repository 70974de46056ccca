from fractions import Fraction

import pytest

from pantheon.money.amounts import format_credits, parse_decimal
from pantheon.money.currencies import CURRENCIES
from pantheon.money.price import credits_for, pro_rata

THIRDS = Fraction(100, 3)
CENTICREDIT = 10**7


@pytest.mark.parametrize(
    ("amount", "credits"),
    [
        ("0.01", "0.33"),
        ("0.02", "0.67"),
        ("1.00", "33.33"),
        ("1.01", "33.67"),
        ("10.00", "333.33"),
        ("20.00", "666.67"),
        ("30.00", "1000"),
        ("99.99", "3333"),
        ("500.00", "16666.67"),
    ],
)
def test_the_usual_rate_is_a_third_exactly(amount: str, credits: str) -> None:
    minor = parse_decimal(amount, decimals=2)

    assert format_credits(credits_for(minor, decimals=2, credits_per_major=THIRDS)) == credits


@pytest.mark.parametrize(
    ("amount_minor", "rate", "credits"),
    [
        # Exactly half a hundredth goes up.
        (1, Fraction("0.5"), "0.01"),
        (1, Fraction("1.5"), "0.02"),
        (1, Fraction("2.5"), "0.03"),
        (1, Fraction("0.4999"), "0"),
        (3, Fraction("33.5"), "1.01"),
    ],
)
def test_half_a_hundredth_of_a_credit_is_rounded_up(amount_minor: int, rate: Fraction, credits: str) -> None:
    assert format_credits(credits_for(amount_minor, decimals=2, credits_per_major=rate)) == credits


@pytest.mark.parametrize("rate", [THIRDS, Fraction(1), Fraction("33.5"), Fraction(1, 7), Fraction(1_000_000, 999)])
@pytest.mark.parametrize("decimals", [0, 2])
def test_every_amount_buys_the_nearest_hundredth_and_more_money_never_buys_less(rate: Fraction, decimals: int) -> None:
    before = 0
    for minor in range(1, 10_001):
        credits = credits_for(minor, decimals=decimals, credits_per_major=rate)
        exact = Fraction(minor, 10**decimals) * rate * 10**9
        # Half up: above the exact value by at most half a hundredth, below it by less than that.
        assert -CENTICREDIT < 2 * (credits - exact) <= CENTICREDIT
        assert 2 * (exact - credits) < CENTICREDIT
        assert credits % CENTICREDIT == 0
        assert credits >= before
        before = credits


def test_a_currency_without_minor_units_is_not_divided() -> None:
    assert format_credits(credits_for(500, decimals=CURRENCIES["jpy"].decimals, credits_per_major=THIRDS)) == "16666.67"


@pytest.mark.parametrize(
    ("part", "credits"),
    [(1000, "333.33"), (999, "333"), (500, "166.67"), (1, "0.33"), (0, "0"), (2000, "666.66")],
)
def test_a_part_of_the_price_buys_that_part_of_the_credits(part: int, credits: str) -> None:
    assert format_credits(pro_rata(333_330_000_000, part=part, whole=1000)) == credits
