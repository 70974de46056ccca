"""`pantheon receipts`: what calls cost."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from pantheon.cli.connect import connect
from pantheon.cli.output import AsJson, show, table

if TYPE_CHECKING:
    from pantheon.turns.view_receipt import Receipt

app = typer.Typer(no_args_is_help=True)


@app.callback()
def receipts() -> None:
    """What calls cost."""


@app.command("show")
def show_(
    receipt_id: Annotated[UUID, typer.Argument(metavar="ID", help="Of the receipt, which is also that of its call.")],
    as_json: AsJson = False,
) -> None:
    """Show what a call used, what each part of it cost, which grants paid, and what the provider takes.

    Example: pantheon receipts show 0198c0de-0000-7000-8000-000000000000
    """
    from pantheon.turns.view_receipt import view_receipt

    async def found() -> "Receipt":
        async with connect() as (_, database):
            return await view_receipt(database, receipt_id, user_id=None)

    fields = _fields(asyncio.run(found()))
    facts = [[name, value] for name, value in fields.items() if not isinstance(value, list | dict)]
    parts = [
        table(None, facts),
        _rows(fields["lines"], "No lines: nothing was used."),
        _rows(fields["grants"], "No grant paid for it."),
        _rows(fields["attempts"], "No attempts are known."),
    ]
    show("\n\n".join(parts), fields, as_json=as_json)


def _rows(items: list[dict[str, Any]], otherwise: str) -> str:
    return table(list(items[0]), [list(item.values()) for item in items]) if items else otherwise


def _fields(receipt: "Receipt") -> dict[str, Any]:
    from pantheon.money.amounts import format_credits, format_decimal
    from pantheon.turns.view_receipt import UNIT_PRICE_DECIMALS

    def credits(nanocredits: int | None) -> str | None:
        return None if nanocredits is None else format_credits(nanocredits)

    def per_million(price: int | None) -> str | None:
        return None if price is None else format_decimal(price, decimals=UNIT_PRICE_DECIMALS)

    cost = receipt.provider_cost
    return {
        "id": receipt.id,
        "user_id": receipt.user_id,
        "turn_id": receipt.turn_id,
        "agent_id": receipt.agent_id,
        "room_id": receipt.room_id,
        "api_key_id": receipt.api_key_id,
        "model_alias": receipt.model_alias,
        "rate_card_version": receipt.rate_card_version,
        "quality": receipt.quality,
        "stopped_by": receipt.stopped_by,
        "total_credits": credits(receipt.charged),
        "overrun": credits(receipt.overrun),
        "balance_after": credits(receipt.balance_after),
        "provider_cost_usd": None if cost is None else format_decimal(cost, decimals=9),
        "provider_cost_source": receipt.provider_cost_source,
        "started_at": receipt.started_at and receipt.started_at.isoformat(),
        "created_at": receipt.created_at.isoformat(),
        "usage": receipt.usage,
        "lines": [
            {
                "meter": line.meter,
                "quantity": line.quantity,
                "credits_per_million": per_million(line.unit_price),
                "credits": credits(line.amount),
            }
            for line in receipt.lines
        ],
        "grants": [
            {
                "grant_id": grant.grant_id,
                "source": grant.source,
                "category": grant.category,
                "credits": credits(grant.amount),
                "top_up_id": grant.top_up_id,
            }
            for grant in receipt.grants
        ],
        "attempts": receipt.attempts,
    }
