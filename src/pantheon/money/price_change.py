"""What a new rate card does to one price, and which changes nobody may make in passing."""

from dataclasses import dataclass

from pantheon.money.margin import rise_of
from pantheon.money.rate_card import Meter, Rate

STEEP_PERCENT = 30
"""A rise above this needs a confirmation of its own."""


@dataclass(frozen=True)
class PriceChange:
    """Prices as of `Rate.unit_price`; None where the model is not on the card."""

    meter: Meter
    old: int | None
    new: int | None
    cost: int | None
    """Nano-dollars for a million units, of the new rate where there is one."""

    @property
    def rise(self) -> int | None:
        """Tenths of a percent; None where there is nothing to compare, or it was free."""
        return None if self.old is None or self.new is None else rise_of(self.old, self.new)

    @property
    def is_steep(self) -> bool:
        if self.old is None or self.new is None:
            return False
        return self.new * 100 > self.old * (100 + STEEP_PERCENT)

    @property
    def is_free(self) -> bool:
        """Tokens for nothing, or tool calls that were not for nothing before: most providers never charge for those."""
        return self.new == 0 and (self.meter is not Meter.TOOL_CALL or bool(self.old))


def price_changes(old: Rate | None, new: Rate | None) -> tuple[PriceChange, ...]:
    """One for each meter, in order, also where nothing changes."""
    shown = new or old
    costs = shown.costs if shown else None
    return tuple(
        PriceChange(meter, _price(old, meter), _price(new, meter), None if costs is None else costs[meter])
        for meter in Meter
    )


def _price(rate: Rate | None, meter: Meter) -> int | None:
    return None if rate is None else rate.unit_price(meter)
