import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pantheon.cli.output import AsJson, show_explanation

if TYPE_CHECKING:
    from pantheon.cli.proof import Proof
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
    proof = asyncio.run(_verify(quiet=as_json or not sys.stderr.isatty()))
    breaks, counted = proof.breaks, proof.counted
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


async def _verify(*, quiet: bool) -> "Proof":
    from pantheon.cli.connect import connect
    from pantheon.cli.proof import prove

    async with connect() as (_, database), _Progress(quiet) as progress:
        return await prove(database, counted=progress.begin, proven=progress.advance)


class _Progress:
    """A line that says how long it has taken, and which parts of the proof are done."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._done: list[str] = []
        self._showing: asyncio.Task[None] | None = None

    def begin(self, transfers: int) -> None:
        if not self._quiet:
            self._began, self._transfers = time.monotonic(), transfers
            self._showing = asyncio.create_task(self._show_each_second())

    def advance(self, part: str) -> None:
        self._done.append(part)

    async def __aenter__(self) -> "_Progress":
        return self

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._showing is not None:
            self._showing.cancel()
            self._show()
            if error is None:
                speed = round(self._transfers / (time.monotonic() - self._began))
                typer.echo(f", {speed:,} a second", nl=False, err=True)
            typer.echo(err=True)

    async def _show_each_second(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(1)

    def _show(self) -> None:
        seconds = int(time.monotonic() - self._began)
        done = ": " + ", ".join(self._done) + " proven" if self._done else ""
        typer.echo(f"\rVerifying {self._transfers:,} transfers … {seconds} s{done}", nl=False, err=True)
