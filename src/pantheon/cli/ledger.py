import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pantheon.cli.output import AsJson, show_explanation

if TYPE_CHECKING:
    from pantheon.ledger.verify import Break
    from pantheon.payments.explain import Explanation

app = typer.Typer(no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """Proof that the books are right, and why they say what they say."""


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Compute every balance, grant and hash again, and the chain of the audit log; name each row that differs, exit 1.

    Example: pantheon ledger verify
    """
    breaks, counted = asyncio.run(_verify(quiet=as_json or not sys.stderr.isatty()))
    if as_json:
        typer.echo(json.dumps({"whole": not breaks, "verified": counted, "breaks": [asdict(item) for item in breaks]}))
        raise typer.Exit(bool(breaks))
    for item in breaks:
        typer.secho(f"{item.check}: {item.row}: {item.detail}", fg=typer.colors.RED)
    if breaks:
        typer.secho(f"{len(breaks)} breaks in {counted}.", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)
    typer.secho(f"The books are whole: {counted} verified.", fg=typer.colors.GREEN)


@app.command()
def explain(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="A top-up, event, grant, transfer or hold; evt_… or pi_… of Stripe.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say why something is in the state that it is in, and show the rows that led there.

    Example: pantheon ledger explain pi_1Q2w3e4r
    """
    show_explanation(asyncio.run(find_explanation(name)), as_json=as_json)


async def find_explanation(name: str, *kinds: str) -> "Explanation":
    """Raises NotFoundError, which ends the command, also where it is of none of `kinds`."""
    from pantheon.cli.connect import connect
    from pantheon.errors import NotFoundError
    from pantheon.payments.explain import explain

    async with connect() as (_, database):
        found = await explain(database, name)
        if kinds and found.kind not in kinds:
            raise NotFoundError(f"{name} is of a {found.kind}: `pantheon ledger explain` shows it.")
        return found


async def _verify(*, quiet: bool) -> "tuple[list[Break], str]":
    from sqlalchemy import text

    from pantheon import audit
    from pantheon.cli.connect import connect
    from pantheon.ledger import verify as proof

    async with connect() as (_, database), database.transaction() as tx:
        # The application's role is cut off after seconds, which is not enough to read everything ever booked.
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        transfers = await proof.count_transfers(tx)
        counted = f"{transfers} transfers and {await audit.count(tx)} audit rows"
        elapsed = contextlib.nullcontext() if quiet else _elapsed_shown(transfers)
        async with elapsed:
            return [*await proof.verify(tx), *await audit.verify(tx)], counted


@contextlib.asynccontextmanager
async def _elapsed_shown(transfers: int) -> AsyncIterator[None]:
    """A line that says how long it has taken; the database does all in one pass and tells nothing meanwhile."""
    began = time.monotonic()

    async def show() -> None:
        for second in itertools.count():
            typer.echo(f"\rVerifying {transfers:,} transfers … {second} s", nl=False, err=True)
            await asyncio.sleep(1)

    showing = asyncio.create_task(show())
    try:
        yield
        speed = round(transfers / (time.monotonic() - began))
        typer.echo(f", {speed:,} a second", nl=False, err=True)
    finally:
        showing.cancel()
        typer.echo(err=True)
