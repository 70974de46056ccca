"""What Stripe takes as an amount, per currency.

Source: https://docs.stripe.com/currencies (zero-decimal currencies, minimum and maximum amounts), read on 2026-11-22.
An installation sells credits in one currency; a currency that is not listed here cannot be configured.
"""

from dataclasses import dataclass

MAX_MINOR = 99_999_999
"""Stripe takes at most eight digits."""


@dataclass(frozen=True)
class Currency:
    code: str
    decimals: int
    min_minor: int


CURRENCIES = {
    currency.code: currency
    for currency in (
        Currency("usd", 2, 50),
        Currency("eur", 2, 50),
        Currency("gbp", 2, 30),
        Currency("chf", 2, 50),
        Currency("cad", 2, 50),
        Currency("aud", 2, 50),
        Currency("jpy", 0, 50),
    )
}
