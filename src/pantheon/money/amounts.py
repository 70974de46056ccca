"""Amounts are integers of the smallest unit: nanocredits for credits, minor units (cents) for money.

Outside of this module an amount is an `int` whose name says the unit; at the edge it is a decimal string.
"""

import re

CREDIT_DECIMALS = 9
NANOCREDITS: int = 10**CREDIT_DECIMALS
"""Nanocredits in one credit."""

MAX_NANOCREDITS = 10**18
"""The most that one posting may move: a thousand million credits. `bigint` holds nine times as much."""

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,18}))?")


def parse_decimal(text: str, *, decimals: int) -> int:
    """The integer of the smallest unit that `text` stands for, exactly.

    Takes plain ASCII decimals only: no exponent, no sign but a minus, no spaces, no grouping.
    Raises ValueError, with a reason that can be shown to the caller.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError("must be a plain decimal number")
    sign, whole, fraction = match[1], match[2], match[3] or ""
    if len(fraction) > decimals:
        raise ValueError(f"must have at most {decimals} decimals")
    value = int(whole + fraction.ljust(decimals, "0"))
    return -value if sign else value


def format_decimal(value: int, *, decimals: int, least: int = 0) -> str:
    """`value` as a decimal string without exponent; trailing zeros are cut down to `least` decimals."""
    whole, fraction = divmod(abs(value), 10**decimals)
    digits = str(fraction).rjust(decimals, "0").rstrip("0").ljust(least, "0") if decimals else ""
    return ("-" if value < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def parse_credits(text: str) -> int:
    """Nanocredits for a decimal string of credits. Raises ValueError."""
    return parse_decimal(text, decimals=CREDIT_DECIMALS)


def format_credits(nanocredits: int) -> str:
    return format_decimal(nanocredits, decimals=CREDIT_DECIMALS)
