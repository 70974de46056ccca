"""What one set of models changes in another, to be read before it is published."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pantheon.money.amounts import format_decimal
from pantheon.money.price_change import PriceChange, price_changes
from pantheon.turns.rate_cards import Model


@dataclass(frozen=True)
class ModelChange:
    old: Model | None
    new: Model | None

    @property
    def alias(self) -> str:
        model = self.new or self.old
        assert model is not None
        return model.alias

    @property
    def kind(self) -> Literal["new", "changed", "gone"]:
        return "new" if self.old is None else "gone" if self.new is None else "changed"

    @property
    def prices(self) -> tuple[PriceChange, ...]:
        """For each meter, also where nothing changes."""
        return price_changes(self.old.rate if self.old else None, self.new.rate if self.new else None)

    @property
    def reasons(self) -> list[str]:
        """Why it must be confirmed by name; empty where it need not be."""
        return [reason for price in self.prices if (reason := _reason(price))]


def compare(old: Iterable[Model], new: Iterable[Model]) -> list[ModelChange]:
    """Only what differs: the changed ones, then the new ones, then those that are gone."""
    before, after = ({model.alias: model for model in models} for models in (old, new))
    changes = [
        ModelChange(before.get(alias), after.get(alias))
        for alias in sorted(before | after)
        if before.get(alias) != after.get(alias)
    ]
    order = ("changed", "new", "gone")
    return sorted(changes, key=lambda change: order.index(change.kind))


def confirmations(changes: Iterable[ModelChange]) -> dict[str, list[str]]:
    """The models that must be confirmed by name, each with the reasons."""
    return {change.alias: change.reasons for change in changes if change.reasons}


def format_percent(tenths: int, *, signed: bool = False) -> str:
    sign = "+" if signed and tenths > 0 else ""
    return f"{sign}{format_decimal(tenths, decimals=1)} %"


def _reason(price: PriceChange) -> str | None:
    name = price.meter.replace("_", " ")
    # What is free already needs no confirmation to stay so.
    if price.is_free and price.old != 0:
        return f"{name} become free"
    if not price.is_steep:
        return None
    return f"{name} were free" if price.rise is None else f"{name} {format_percent(price.rise, signed=True)}"
