"""`pantheon backup` and `pantheon restore`: everything in one file, and back."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pantheon.db.backup import Manifest

_SHOWN_BYTES = 10 * 1024 * 1024


def backup(
    file: Annotated[Path | None, typer.Argument(help="Where to. Default: named after the time, here.")] = None,
) -> None:
    """Write everything the database holds into one file, at one moment, while people go on working.

    The file holds personal data and is readable by you alone. Settings and keys (.env) are not in it; keep them too.

    Example: pantheon backup /backups/monday.backup
    """
    from pantheon import clock
    from pantheon.cli.connect import database_urls, errors_shown
    from pantheon.db.backup import back_up

    target = file or Path(f"pantheon-{clock.now():%Y%m%dT%H%M%SZ}.backup")
    with errors_shown(), database_urls() as (owner_url, _):
        manifest = back_up(owner_url, target, progress=_progress("written"))
    size = target.stat().st_size
    typer.secho(f"{target}: {_counts(manifest)}, {size} bytes, schema {manifest.revision}.", fg=typer.colors.GREEN)


def restore(
    file: Annotated[Path, typer.Argument(help="A file made by `pantheon backup`.")],
    replace: Annotated[bool, typer.Option("--replace", help="Lose what the database holds now.")] = False,
) -> None:
    """Put a backup into an empty database, give the application its rights there, and verify the books.

    Stop Pantheon first. A file that is cut off, damaged or not a backup changes nothing.

    Examples:

      pantheon restore monday.backup

      pantheon restore monday.backup --replace
    """
    import asyncio

    from pantheon.cli.connect import database_urls, errors_shown
    from pantheon.db import backup as backups
    from pantheon.db.migrate import migrate

    with errors_shown(), database_urls() as (owner_url, app_url):
        manifest = backups.restore(owner_url, file, replace=replace, progress=_progress("restored"))
        typer.echo(f"Restored {_counts(manifest)} of {manifest.taken_at}. Migrating and verifying …", err=True)
        migrate(owner_url, app_url=app_url)
        breaks = asyncio.run(_verify(app_url))
    for line in breaks:
        typer.secho(line, fg=typer.colors.RED)
    if breaks:
        typer.secho(f"Restored, but the books have {len(breaks)} breaks.", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)
    typer.secho("Restored. The books are whole.", fg=typer.colors.GREEN)


async def _verify(url: str) -> list[str]:
    from pantheon.cli.proof import prove
    from pantheon.db.engine import Database

    database = Database(url, pool_size=3)
    try:
        proof = await prove(database)
    finally:
        await database.close()
    return [f"{item.check}: {item.row}: {item.detail}" for item in proof.breaks]


def _progress(done: str) -> Callable[[int], None]:
    total = 0

    def advance(count: int) -> None:
        nonlocal total
        before, total = total, total + count
        if before // _SHOWN_BYTES != total // _SHOWN_BYTES:
            typer.echo(f"  … {total // 1024 // 1024} MB {done}", err=True)

    return advance


def _counts(manifest: "Manifest") -> str:
    rows = manifest.rows
    return f"{rows['users']} users, {rows['wallets']} wallets, {rows['transfers']} transfers"
