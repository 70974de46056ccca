"""`pantheon docs`: writes the documents that are generated from code, and says which are out of date."""

import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def write() -> None:
    """Write every generated document."""
    from pantheon.cli.documents import DOCUMENTS, ROOT

    for name, render in DOCUMENTS.items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(render())
        typer.echo(f"written: {name}")


@app.command()
def check() -> None:
    """Exit with 1 when a generated document is not what the code says."""
    from pantheon.cli.documents import stale

    if found := stale():
        typer.echo(f"stale: {', '.join(found)}; run `pantheon docs write`", err=True)
        raise typer.Exit(1)
