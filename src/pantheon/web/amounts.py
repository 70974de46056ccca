"""Credits and money as people read them. Nothing is computed with these texts."""

from pantheon.money.amounts import CREDIT_DECIMALS, format_decimal
from pantheon.money.currencies import Currency
from pantheon.turns.view_receipt import UNIT_PRICE_DECIMALS

MINUS = "−"

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "cad": "CA$", "aud": "A$", "chf": "CHF "}
_SHOWN_DECIMALS = 2
_NANO_DECIMALS = 9
_FINE_DECIMALS = 4
_SHOWN_STEP: int = 10 ** (CREDIT_DECIMALS - _SHOWN_DECIMALS)


def credits_text(nanocredits: int, *, signed: bool = False) -> str:
    """Two decimals, cut off and not rounded: nobody is shown a credit that they could not spend."""
    sign = MINUS if nanocredits < 0 else "+" if signed and nanocredits > 0 else ""
    shown = abs(nanocredits) // _SHOWN_STEP
    if nanocredits and not shown:
        return f"{sign}<0.01"
    return sign + grouped(shown, decimals=_SHOWN_DECIMALS, least=_SHOWN_DECIMALS)


def exact_text(nanocredits: int) -> str:
    """All decimals, for receipts: what a call costs is often less than a hundredth of a credit."""
    return (MINUS if nanocredits < 0 else "") + format_decimal(abs(nanocredits), decimals=CREDIT_DECIMALS, least=2)


def per_million_text(unit_price: int) -> str:
    return format_decimal(unit_price, decimals=UNIT_PRICE_DECIMALS, least=2)


def money_text(minor: int, currency: Currency) -> str:
    sign = MINUS if minor < 0 else ""
    return f"{sign}{_SYMBOLS[currency.code]}{grouped(abs(minor), decimals=currency.decimals, least=currency.decimals)}"


def worth_text(nanocredits: int, minor: int, currency: Currency) -> str:
    """The money beside credits. What is worth less than the smallest coin is not worth nothing."""
    if nanocredits and not minor:
        return f"<{money_text(1, currency)}"
    return money_text(minor, currency)


def fine_money_text(nano: int, currency: Currency) -> str:
    """Of a thousand-millionth of the currency's unit, with at most four decimals, rounded half up."""
    step = 10 ** (_NANO_DECIMALS - _FINE_DECIMALS)
    shown = (2 * nano + step) // (2 * step)
    if nano and not shown:
        return f"<{fine_money_text(step, currency)}"
    return f"{_SYMBOLS[currency.code]}{grouped(shown, decimals=_FINE_DECIMALS, least=currency.decimals)}"


def grouped(value: int, *, decimals: int, least: int) -> str:
    whole, point, fraction = format_decimal(value, decimals=decimals, least=least).partition(".")
    return f"{int(whole):,}{point}{fraction}"
