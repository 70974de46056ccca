"""How many credits a top-up buys."""

from fractions import Fraction

from pantheon.money.amounts import NANOCREDITS

_CENTICREDIT: int = NANOCREDITS // 100


def credits_for(amount_minor: int, *, decimals: int, credits_per_major: Fraction) -> int:
    """Nanocredits bought for `amount_minor`, rounded half up to two decimals of a credit."""
    centicredits = Fraction(amount_minor, 10**decimals) * credits_per_major * 100
    rounded = (2 * centicredits.numerator + centicredits.denominator) // (2 * centicredits.denominator)
    return rounded * _CENTICREDIT


def minor_for(nanocredits: int, *, decimals: int, credits_per_major: Fraction) -> int:
    """What credits are worth at a price, rounded half up to the minor unit. Negative for debt."""
    minor = Fraction(nanocredits, NANOCREDITS) / credits_per_major * Fraction(10**decimals)
    return (2 * minor.numerator + minor.denominator) // (2 * minor.denominator)


def pro_rata(nanocredits: int, *, part: int, whole: int) -> int:
    """What `part` of a price of `whole` buys, where `whole` buys `nanocredits`: rounded like `credits_for`."""
    centicredits = Fraction(nanocredits * part, whole * _CENTICREDIT)
    rounded = (2 * centicredits.numerator + centicredits.denominator) // (2 * centicredits.denominator)
    return rounded * _CENTICREDIT
