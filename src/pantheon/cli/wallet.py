"""`pantheon grant` and `pantheon wallet`: credits of a user."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pantheon.cli.connect import connect
from pantheon.cli.output import AsJson, show, table

if TYPE_CHECKING:
    from pantheon.users.user import User
    from pantheon.wallets.changes import Change
    from pantheon.wallets.list_transactions import Transaction
    from pantheon.wallets.view_wallet import WalletView

app = typer.Typer(no_args_is_help=True)

UserName = Annotated[str, typer.Argument(metavar="USER", help="E-mail address or id of the user.")]

_RECENT = 10


@app.callback()
def wallet() -> None:
    """Users' credits."""


def grant(
    user: UserName,
    amount: Annotated[str, typer.Argument(help="Credits, greater than 0 and at most 10000.")],
    note: Annotated[str, typer.Option(help="Why. The user reads it.")],
    category: Annotated[
        Literal["paid", "promotional"], typer.Option(help="Promotional credits are used up first.")
    ] = "promotional",
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When what is left ends, UTC.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give credits to a user. Each call gives them anew.

    Example: pantheon grant ada@example.com 100 --note "Thank you for the report"
    """
    change = asyncio.run(_grant(user, amount, note, category, expires and expires.replace(tzinfo=UTC)))
    fields = {
        "user_id": change.user_id,
        "credits_granted": _credits(change.amount),
        "new_balance": _credits(change.balance),
        "transaction_id": change.transfer_id,
    }
    sentence = f"Gave {fields['credits_granted']} credits to {user}. The balance is {fields['new_balance']} now."
    show(sentence, fields, as_json=as_json)


async def _grant(
    user: str, amount: str, note: str, category: Literal["paid", "promotional"], expires: datetime | None
) -> "Change":
    from pantheon.audit import Actor
    from pantheon.errors import InvalidInputError
    from pantheon.users.find_user import find_user
    from pantheon.wallets.grant_credits import grant_credits

    async with connect() as (_, database):
        if not 1 <= len(note) <= 256 or not note.isprintable():
            raise InvalidInputError("--note must say why, in one line of at most 256 characters")
        found = await find_user(database, user)
        return await grant_credits(
            database,
            Actor(None, "cli"),
            user_id=found.id,
            amount=amount,
            note=note,
            category=category,
            expires_at=expires,
        )


@app.command("show")
def show_(user: UserName, as_json: AsJson = False) -> None:
    """Show what a user has, out of which grants, and the last ten movements.

    Example: pantheon wallet show ada@example.com
    """
    found, wallet, recent = asyncio.run(_found(user))
    fields = _fields(found, wallet, recent)
    totals = [[name, fields[name]] for name in ("available", "held", "debt", "balance")]
    grants = [
        [g["remaining"], g["amount"], g["category"], g["source"], g["expires_at"], g["id"]] for g in fields["grants"]
    ]
    movements = [
        [t["at"][:19], t["kind"], t["amount"], t["balance_after"], t["note"], t["id"]] for t in fields["transactions"]
    ]
    text = "\n\n".join(
        [
            f"{found.email or '(no e-mail)'}  {found.id}\n" + table(None, totals),
            table(["left", "of", "category", "source", "expires", "grant"], grants) if grants else "No usable grants.",
            table(["at", "kind", "credits", "balance", "note", "transfer"], movements)
            if movements
            else "No movements.",
        ]
    )
    show(text, fields, as_json=as_json)


async def _found(user: str) -> "tuple[User, WalletView, list[Transaction]]":
    from pantheon.users.find_user import find_user
    from pantheon.wallets.list_transactions import list_transactions
    from pantheon.wallets.view_wallet import view_wallet

    async with connect() as (_, database):
        found = await find_user(database, user)
        wallet = await view_wallet(database, user_id=found.id)
        recent, _total = await list_transactions(database, user_id=found.id, limit=_RECENT)
        return found, wallet, recent


def _fields(user: "User", wallet: "WalletView", recent: "list[Transaction]") -> dict[str, Any]:
    return {
        "user_id": user.id,
        "email": user.email,
        "available": _credits(wallet.available),
        "held": _credits(wallet.held),
        "debt": _credits(wallet.debt),
        "balance": _credits(wallet.balance),
        "grants": [
            {
                "id": grant.id,
                "source": grant.source,
                "category": grant.category,
                "amount": _credits(grant.amount),
                "remaining": _credits(grant.remaining),
                "expires_at": grant.expires_at and grant.expires_at.isoformat(),
            }
            for grant in wallet.grants
        ],
        "transactions": [
            {
                "id": item.id,
                "kind": item.kind,
                "amount": _credits(item.amount),
                "balance_after": _credits(item.balance_after),
                "note": item.note,
                "reference_id": item.reference_id,
                "at": item.created_at.isoformat(),
            }
            for item in recent
        ],
    }


def _credits(nanocredits: int) -> str:
    from pantheon.money.amounts import format_credits

    return format_credits(nanocredits)
