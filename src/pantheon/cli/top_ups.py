"""`pantheon top-ups`: payments of users, and those that need a decision."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from pantheon.cli.connect import connect
from pantheon.cli.ledger import find_explanation
from pantheon.cli.output import AsJson, show, show_explanation, table
from pantheon.money.top_up import State

if TYPE_CHECKING:
    from pantheon.payments.top_ups import TopUp

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(
    state: Annotated[State | None, typer.Option(help="Only those in this state. Default: all.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List everybody's top-ups, newest first.

    Example: pantheon top-ups list --state review
    """
    from pantheon.payments.view_top_ups import list_all_top_ups

    async def found() -> "tuple[list[TopUp], int]":
        async with connect() as (_, database):
            return await list_all_top_ups(database, state=state, limit=limit)

    top_ups, total = asyncio.run(found())
    fields = [_fields(top_up) for top_up in top_ups]
    columns = ("created_at", "status", "amount", "currency", "credits", "reason", "payment_intent_id", "id")
    text = table(columns, [[item[name] for name in columns] for item in fields])
    show(f"{text}\n{len(fields)} of {total} top-ups", {"top_ups": fields, "total": total}, as_json=as_json)


@app.command("show")
def show_(
    top_up: Annotated[
        str, typer.Argument(metavar="ID", help="Our id of the top-up, or Stripe's of its payment (pi_…).")
    ],
    as_json: AsJson = False,
) -> None:
    """Show a top-up and why it is in its state: the same as `pantheon ledger explain`.

    Example: pantheon top-ups show pi_1Q2w3e4r
    """
    show_explanation(asyncio.run(find_explanation(top_up, "top-up", "payment")), as_json=as_json)


@app.command()
def resolve(
    top_up_id: Annotated[UUID, typer.Argument(metavar="ID", help="As `list` shows it.")],
    action: Annotated[
        Literal["credit", "credit-received", "refunded-outside"],
        typer.Option(help="Grant what was promised, or in proportion to what came in; or it was refunded at Stripe."),
    ],
    reason: Annotated[str, typer.Option(help="Why, for the audit log, which is kept for ever.")],
    as_json: AsJson = False,
) -> None:
    """Decide about a top-up in review. The same decision again changes nothing.

    Example: pantheon top-ups resolve 0198c0de-0000-7000-8000-000000000000 --action credit-received
    --reason "The bank kept a fee"
    """
    from pantheon.audit import Actor
    from pantheon.payments.resolve_top_up import Action, resolve_top_up

    async def resolved() -> "tuple[TopUp, bool]":
        async with connect() as (_, database):
            return await resolve_top_up(
                database, Actor(None, "cli"), top_up_id=top_up_id, action=Action(action), reason=reason
            )

    top_up, changed = asyncio.run(resolved())
    sentence = f"The top-up is {top_up.state} {'now' if changed else 'already, by the same decision'}."
    show(sentence, {**_fields(top_up), "changed": changed}, as_json=as_json)


def _fields(top_up: "TopUp") -> dict[str, Any]:
    from pantheon.money.amounts import format_credits, format_decimal
    from pantheon.money.currencies import CURRENCIES

    decimals = CURRENCIES[top_up.currency].decimals
    return {
        "id": top_up.id,
        "user_id": top_up.user_id,
        "status": top_up.state,
        "reason": top_up.reason,
        "amount": format_decimal(top_up.amount_minor, decimals=decimals, least=decimals),
        "currency": top_up.currency,
        "credits": format_credits(top_up.credits),
        "payment_intent_id": top_up.payment_intent_id,
        "grant_id": top_up.grant_id,
        "created_at": f"{top_up.created_at:%Y-%m-%dT%H:%M:%SZ}",
    }
