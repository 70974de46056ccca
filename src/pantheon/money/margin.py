"""From what a provider takes to what is asked for it, and back. Exact fractions, and one rounding of a price, upwards.

A margin is what is put on top of the cost, as a part of it: at 30 %, what costs 1.00 is sold for 1.30. All prices and
costs here are for a million units.
"""

from fractions import Fraction

from pantheon.money.amounts import parse_decimal
from pantheon.money.rate_card import MULTIPLIER_ONE

_PERCENT_DECIMALS = 4
_MAX_PERCENT = 1000


def parse_margin(text: str) -> Fraction:
    """`30%` or `12.5%`, exactly. Raises ValueError, also for a number without the sign, which could mean two things."""
    if not text.endswith("%"):
        raise ValueError("must be a percentage such as 30%")
    percent = Fraction(
        parse_decimal(text.removesuffix("%"), decimals=_PERCENT_DECIMALS),
        10**_PERCENT_DECIMALS,
    )
    if not 0 <= percent <= _MAX_PERCENT:
        raise ValueError(f"must be between 0% and {_MAX_PERCENT}%")
    return percent * Fraction(1, 100)


def price_of(cost: int, *, margin: Fraction, credits_per_dollar: Fraction) -> int:
    """Nanocredits for a cost in nano-dollars."""
    exact = cost * credits_per_dollar * (1 + margin)
    return -(-exact.numerator // exact.denominator)


def margin_of(unit_price: int, cost: int, *, credits_per_dollar: Fraction) -> int | None:
    """The margin of a price (as of `Rate.unit_price`) in tenths of a percent, to be read; None where the cost is 0."""
    if cost == 0:
        return None
    sold = Fraction(unit_price, MULTIPLIER_ONE) / credits_per_dollar
    return _rounded((sold - cost) * Fraction(1000, cost))


def worth_of_price(unit_price: int, *, credits_per_major: Fraction) -> int:
    """Nano-units of the currency that a price (as of `Rate.unit_price`) is worth, to be read; a part counts as one."""
    exact = Fraction(unit_price, MULTIPLIER_ONE) / credits_per_major
    return -(-exact.numerator // exact.denominator)


def rise_of(old: int, new: int) -> int | None:
    """How much dearer `new` is than `old`, in tenths of a percent, to be read; None where it was free."""
    return None if old == 0 else _rounded(Fraction((new - old) * 1000, old))


def _rounded(value: Fraction) -> int:
    """Half up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
