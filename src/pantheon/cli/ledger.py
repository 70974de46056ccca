import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """Proof that the books are right."""


@app.command()
def verify() -> None:
    """Compute every balance, grant and hash again from the transfers; name each row that differs and exit 1.

    Example: pantheon ledger verify
    """
    import asyncio

    from pantheon.cli.connect import connect
    from pantheon.ledger import verify as proof

    async def found() -> tuple[list[proof.Break], int]:
        async with connect() as (_, database), database.transaction() as tx:
            return await proof.verify(tx), await proof.count_transfers(tx)

    breaks, transfers = asyncio.run(found())
    for item in breaks:
        typer.secho(f"{item.check}: {item.row}: {item.detail}", fg=typer.colors.RED)
    if breaks:
        typer.secho(f"{len(breaks)} breaks in {transfers} transfers.", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)
    typer.secho(f"The books are whole: {transfers} transfers verified.", fg=typer.colors.GREEN)
