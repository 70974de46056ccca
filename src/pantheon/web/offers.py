"""What may be bought: the suggested amounts, and what any amount buys at today's price."""

from dataclasses import dataclass

from pantheon.errors import InvalidInputError
from pantheon.money.amounts import format_decimal, parse_decimal
from pantheon.money.price import credits_for
from pantheon.settings import Settings
from pantheon.web.amounts import money_text

_SUGGESTED = (5, 10, 25, 50)
_PREFERRED = 10


@dataclass(frozen=True)
class Offer:
    amount: str
    """As the API takes it: a decimal string in the major unit."""
    minor: int
    credits: int


def offer_of(settings: Settings, minor: int) -> Offer:
    decimals = settings.money.decimals
    credits = credits_for(minor, decimals=decimals, credits_per_major=settings.credits_per_usd)
    return Offer(format_decimal(minor, decimals=decimals, least=decimals), minor, credits)


def suggested_offers(settings: Settings) -> list[Offer]:
    # Where the currency has no cents its unit is worth about one.
    minors = [amount * 100 for amount in _SUGGESTED]
    within = [minor for minor in minors if settings.top_up_min_minor <= minor <= settings.top_up_max_minor]
    return [offer_of(settings, minor) for minor in within]


def preferred_amount(offers: list[Offer]) -> str | None:
    """The suggestion that is chosen before anybody chooses."""
    amounts = [offer.amount for offer in offers if offer.minor == _PREFERRED * 100] or [o.amount for o in offers]
    return amounts[0] if amounts else None


def read_offer(settings: Settings, written: str) -> Offer:
    """The offer for an amount as somebody wrote it. Raises InvalidInputError with words for a page."""
    amount = written.strip().removeprefix("$").strip()
    try:
        minor = parse_decimal(amount, decimals=settings.money.decimals)
    except ValueError:
        raise InvalidInputError(f"Write the amount as a number such as {_example(settings)}.") from None
    if not settings.top_up_min_minor <= minor <= settings.top_up_max_minor:
        raise InvalidInputError(f"Choose an amount between {bounds_text(settings, ' and ')}.")
    return offer_of(settings, minor)


def bounds_text(settings: Settings, between: str = " to ") -> str:
    low, high = settings.top_up_min_minor, settings.top_up_max_minor
    return f"{money_text(low, settings.money)}{between}{money_text(high, settings.money)}"


def _example(settings: Settings) -> str:
    return "10 or 12.50" if settings.money.decimals else "1000"
