import asyncio
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from pantheon.cli.connect import connect
from pantheon.cli.output import AsJson, show, table
from pantheon.users.rights import Scope

if TYPE_CHECKING:
    from pantheon.users.api_key import ApiKey

app = typer.Typer(no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="E-mail address of the key's owner.")]


@app.command()
def create(
    email: Email,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key may do. Repeat for more.")],
    monthly_limit: Annotated[str | None, typer.Option(help="Credits that it may spend in a month.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key and print it, this once.

    Example: pantheon keys create ada@example.com "nightly report" --scope usage:read --scope wallet:read
    """
    key, fields = asyncio.run(_create(email, name, scope, monthly_limit))
    show(key, {**fields, "key": key}, as_json=as_json)


async def _create(email: str, name: str, scopes: list[Scope], monthly_limit: str | None) -> tuple[str, dict[str, Any]]:
    from pantheon.audit import Actor
    from pantheon.errors import InvalidInputError
    from pantheon.money.amounts import parse_credits
    from pantheon.users.create_api_key import create_api_key
    from pantheon.users.find_user import find_user

    async with connect() as (settings, database):
        try:
            limit = None if monthly_limit is None else parse_credits(monthly_limit)
        except ValueError as error:
            raise InvalidInputError(f"--monthly-limit {error}") from None
        user = await find_user(database, email)
        api_key, key = await create_api_key(
            database,
            settings,
            user_id=user.id,
            name=name,
            scopes=scopes,
            monthly_limit_nanocredits=limit,
            actor=Actor(None, "cli"),
        )
        return key, _fields(api_key)


@app.command("list")
def list_(email: Email, as_json: AsJson = False) -> None:
    """List a user's API keys.

    Example: pantheon keys list ada@example.com
    """
    from pantheon.users.find_user import find_user
    from pantheon.users.list_api_keys import list_api_keys

    async def found() -> "list[ApiKey]":
        async with connect() as (_, database):
            user = await find_user(database, email)
            return (await list_api_keys(database, user_id=user.id)).api_keys

    api_keys = asyncio.run(found())
    keys = [_fields(key) for key in api_keys]
    rows = [
        [k["id"], f"{k['key_start']}…", ", ".join(k["scopes"]), k["spent_this_month"], k["monthly_limit"], k["name"]]
        for k in keys
    ]
    heads = ["key", "begins with", "scopes", "this month", "of at most", "name"]
    show(table(heads, rows) if rows else "No API keys.", {"api_keys": keys}, as_json=as_json)


@app.command()
def revoke(
    email: Email, key_id: Annotated[UUID, typer.Argument(help="As `list` shows it.")], as_json: AsJson = False
) -> None:
    """End an API key, at once and for ever.

    Example: pantheon keys revoke ada@example.com 0198c0de-0000-7000-8000-000000000000
    """
    from pantheon.audit import Actor
    from pantheon.users.find_user import find_user
    from pantheon.users.revoke_api_key import revoke_api_key

    async def revoked() -> None:
        async with connect() as (_, database):
            user = await find_user(database, email)
            await revoke_api_key(database, user_id=user.id, api_key_id=key_id, actor=Actor(None, "cli"))

    asyncio.run(revoked())
    show("The key is revoked.", {"id": key_id, "revoked": True}, as_json=as_json)


def _fields(key: "ApiKey") -> dict[str, Any]:
    from pantheon.money.amounts import format_credits

    limit, spent = key.monthly_limit_nanocredits, key.spent_this_month_nanocredits
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "monthly_limit": None if limit is None else format_credits(limit),
        "spent_this_month": None if spent is None else format_credits(spent),
        "key_start": key.key_start,
        "created_at": key.created_at.isoformat(),
        "last_used_at": None if key.last_used_at is None else key.last_used_at.isoformat(),
    }
