"""Tables of `pantheon rates`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pantheon.cli.output import table
from pantheon.money.price_change import STEEP_PERCENT

if TYPE_CHECKING:
    from pantheon.api.rate_card_answers import DiffAnswer, ModelChangeAnswer, RateCardAnswer, VersionAnswer
    from pantheon.turns.what_if import Sum, WhatIf

_REFUSED_SHOWN = 10


def versions_text(versions: "list[VersionAnswer]") -> str:
    heads = ("version", "from (UTC)", "until", "models", "", "note")
    rows = [
        (
            item.version,
            _moment(item.effective_at),
            item.effective_until and _moment(item.effective_until),
            item.model_count,
            "in force" if item.in_force else "",
            item.note,
        )
        for item in versions
    ]
    return table(heads, rows)


def card_text(card: "RateCardAnswer") -> str:
    from pantheon.money.rate_card import Meter

    heads = ("model", "called", "×", *(_meter(meter) for meter in Meter))
    rows = [
        (
            model.model_alias,
            f"{model.provider}: {model.provider_model}",
            model.multiplier,
            *(model.prices[meter] for meter in Meter),
        )
        for model in card.models
    ]
    return f"Version {card.version.version}, credits for a million, before the multiplier (×)\n{table(heads, rows)}"


def diff_text(found: "DiffAnswer") -> str:
    if not found.changes:
        return "Nothing differs."
    to = "" if found.new_version is None else f" to version {found.new_version}"
    parts = [f"From version {found.old_version}{to}, credits for a million"]
    rows = [row for change in found.changes if change.kind != "gone" for row in _change_rows(change)]
    if rows:
        parts[0] += "\n" + table(("", "model", "meter", "old", "new", "change", "cost $", "margin"), rows)
    if gone := [change.model_alias for change in found.changes if change.kind == "gone"]:
        parts.append(f"Gone, and no longer to be called: {', '.join(gone)}")
    if warned := [
        f"  {c.model_alias}: {', '.join(c.needs_confirmation)}" for c in found.changes if c.needs_confirmation
    ]:
        parts.append("\n".join([f"These rise by more than {STEEP_PERCENT} % or become free:", *warned]))
    return "\n\n".join(parts)


def _change_rows(change: "ModelChangeAnswer") -> list[tuple[Any, ...]]:
    """Without tool calls that were free and stay so."""
    cells = [
        (
            _meter(price.meter),
            price.old_price,
            price.new_price,
            price.change_percent and f"{_signed(price.change_percent)} %",
            price.cost,
            price.margin_percent and f"{price.margin_percent} %",
        )
        for price in change.prices
        if {price.old_price, price.new_price} - {None, "0"} or price.meter != "tool_calls"
    ]
    heads = [(change.kind, change.model_alias), *[("", "")] * (len(cells) - 1)]
    return [(*head, *row) for head, row in zip(heads, cells, strict=True)]


def refused_text(refused: dict[str, str]) -> str:
    if not refused:
        return ""
    told = [f"  {name}: {why}" for name, why in list(refused.items())[:_REFUSED_SHOWN]]
    more = [f"  … and {len(refused) - _REFUSED_SHOWN} more, see --json"] if len(refused) > _REFUSED_SHOWN else []
    return "\n".join(["", "", f"Not imported: {len(refused)} of the list", *told, *more])


def what_if_text(found: "WhatIf", name: str) -> str:
    if not found.models:
        return "There were no calls in this time."
    heads = ("model", "calls", "charged", "price then", f"at {name}", "change")
    rows = [_sum_row(alias, item) for alias, item in found.models.items()]
    rows.append(_sum_row("altogether", found.priced))
    text = table(heads, rows)
    if found.unpriced.calls:
        text += f"\n{found.unpriced.calls} calls are not in it: {name} has no price for their models."
    return text


def _sum_row(name: str, item: "Sum") -> tuple[Any, ...]:
    from pantheon.money.amounts import format_credits
    from pantheon.money.margin import rise_of
    from pantheon.turns.compare_rate_cards import format_percent

    rise = None if item.would_be is None else rise_of(item.price, item.would_be)
    return (
        name,
        item.calls,
        format_credits(item.charged),
        format_credits(item.price),
        None if item.would_be is None else format_credits(item.would_be),
        None if rise is None else format_percent(rise, signed=True),
    )


def what_if_fields(found: "WhatIf", name: str, start: datetime, end: datetime) -> dict[str, Any]:
    from pantheon.money.amounts import format_credits

    def fields(item: "Sum") -> dict[str, Any]:
        return {
            "calls": item.calls,
            "charged": format_credits(item.charged),
            "price": format_credits(item.price),
            "would_be": None if item.would_be is None else format_credits(item.would_be),
        }

    return {
        "prices": name,
        "from": start.isoformat(),
        "to": end.isoformat(),
        "models": {alias: fields(item) for alias, item in found.models.items()},
        "priced": fields(found.priced),
        "not_priced": {**fields(found.unpriced), "would_be": None},
    }


def _meter(meter: str) -> str:
    return meter.removesuffix("_tokens").replace("_", " ")


def _signed(percent: str) -> str:
    return percent if percent.startswith("-") or percent == "0" else f"+{percent}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
