"""`pantheon limits`: what operators allow a user to spend. The user's own limits are listed, and left alone."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pantheon.cli.connect import connect
from pantheon.cli.output import AsJson, show, table

if TYPE_CHECKING:
    from pantheon.turns.limits import Limit

app = typer.Typer(no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="E-mail address or id of the user.")]
Period = Annotated[Literal["day", "month"], typer.Option(help="Of UTC.")]
Scope = Annotated[
    Literal["wallet", "agent", "room", "model", "api_key"], typer.Option(help="The whole wallet, or what is under it.")
]
ScopeId = Annotated[str | None, typer.Option("--id", help="Of the agent, room or API key, or the model's alias.")]


@app.command("list")
def list_(email: Email, as_json: AsJson = False) -> None:
    """List a user's limits, whoever set them, and what is used of them.

    Example: pantheon limits list ada@example.com
    """
    from pantheon.turns.limits import MAX_LIMITS
    from pantheon.turns.list_limits import list_limits
    from pantheon.users.find_user import find_user

    async def found() -> "list[Limit]":
        async with connect() as (_, database):
            user = await find_user(database, email)
            return (await list_limits(database, user_id=user.id, limit=2 * MAX_LIMITS))[0]

    limits = [_fields(limit) for limit in asyncio.run(found())]
    heads = ["scope", "period", "spent", "reserved", "of at most", "set by", "resets at", "what"]
    rows = [
        [
            *(limit[name] for name in ("scope", "period", "spent", "reserved", "amount", "set_by")),
            limit["resets_at"][:10],
            limit["name"] or limit["scope_id"],
        ]
        for limit in limits
    ]
    show(table(heads, rows) if rows else "No limits.", {"limits": limits}, as_json=as_json)


@app.command("set")
def set_(
    email: Email,
    amount: Annotated[str, typer.Argument(help="The most credits of one period. 0 stops all spending.")],
    period: Period = "month",
    scope: Scope = "wallet",
    scope_id: ScopeId = None,
    as_json: AsJson = False,
) -> None:
    """Set a limit that the user can neither raise nor remove.

    Example: pantheon limits set ada@example.com 50 --period day --scope model --id gpt-4o
    """
    from pantheon.audit import Actor
    from pantheon.turns.set_limit import set_limit
    from pantheon.users.find_user import find_user

    async def limited() -> "Limit":
        async with connect() as (_, database):
            user = await find_user(database, email)
            return await set_limit(
                database,
                Actor(None, "cli"),
                user_id=user.id,
                set_by="owner",
                scope=scope,
                scope_id=scope_id,
                period=period,
                amount=amount,
            )

    limit = _fields(asyncio.run(limited()))
    sentence = f"At most {limit['amount']} credits a {period}; {limit['spent']} are spent in this one."
    show(sentence, limit, as_json=as_json)


@app.command()
def remove(
    email: Email,
    period: Period = "month",
    scope: Scope = "wallet",
    scope_id: ScopeId = None,
    as_json: AsJson = False,
) -> None:
    """Remove a limit that an operator set.

    Example: pantheon limits remove ada@example.com --period day --scope model --id gpt-4o
    """
    from pantheon.audit import Actor
    from pantheon.turns.remove_limit import remove_limit
    from pantheon.users.find_user import find_user

    async def removed() -> None:
        async with connect() as (_, database):
            user = await find_user(database, email)
            await remove_limit(
                database,
                Actor(None, "cli"),
                user_id=user.id,
                set_by="owner",
                scope=scope,
                scope_id=scope_id,
                period=period,
            )

    asyncio.run(removed())
    show("The limit is removed.", {"removed": True}, as_json=as_json)


def _fields(limit: "Limit") -> dict[str, Any]:
    from pantheon.money.amounts import format_credits

    amounts = ("amount", "reserved", "spent", "remaining")
    return {
        **{name: getattr(limit, name) for name in ("scope", "scope_id", "name", "period", "set_by")},
        **{name: format_credits(getattr(limit, name)) for name in amounts},
        "resets_at": limit.resets_at.isoformat(),
    }
