"""`pantheon backup` and `pantheon restore`: everything in one file, and back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pantheon.cli.output import AsJson, show

if TYPE_CHECKING:
    from pantheon.db.backup import Manifest
    from pantheon.ledger.verify import Break

_SHOWN_BYTES = 10 * 1024 * 1024


def backup(
    file: Annotated[Path | None, typer.Argument(help="Where to. Default: named after the time, here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write everything the database holds into one file, at one moment, while people go on working.

    The file holds personal data and is readable by you alone. Not in it, and to be kept too: settings and keys (.env),
    and the contents of files (STORAGE_URL).

    Example: pantheon backup /backups/monday.backup
    """
    from pantheon import clock
    from pantheon.cli.connect import database_urls, errors_shown
    from pantheon.db.backup import back_up

    target = file or Path(f"pantheon-{clock.now():%Y%m%dT%H%M%SZ}.backup")
    with errors_shown(), database_urls() as (owner_url, _):
        manifest = back_up(owner_url, target, progress=_lines("written"))
    size = target.stat().st_size
    sentence = f"{target}: {_counts(manifest)}, {size} bytes, schema {manifest.revision}."
    fields = {"file": str(target), "bytes": size, "manifest": asdict(manifest)}
    show(typer.style(sentence, fg=typer.colors.GREEN), fields, as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="A file made by `pantheon backup`.")],
    replace: Annotated[bool, typer.Option("--replace", help="Lose what the database holds now.")] = False,
    as_json: AsJson = False,
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
        with _bar(file) as advance:
            manifest = backups.restore(owner_url, file, replace=replace, progress=advance)
        typer.echo(f"Restored {_counts(manifest)} of {manifest.taken_at}. Migrating and verifying …", err=True)
        migrate(owner_url, app_url=app_url)
        breaks = asyncio.run(_verify(app_url))
    lines = [typer.style(f"{item.check}: {item.row}: {item.detail}", fg=typer.colors.RED) for item in breaks]
    lines.append(
        typer.style(f"Restored, but the books have {len(breaks)} breaks.", fg=typer.colors.RED)
        if breaks
        else typer.style("Restored. The books are whole.", fg=typer.colors.GREEN)
    )
    fields = {"whole": not breaks, "breaks": [asdict(item) for item in breaks], "manifest": asdict(manifest)}
    show("\n".join(lines), fields, as_json=as_json)
    raise typer.Exit(bool(breaks))


async def _verify(url: str) -> "list[Break]":
    from pantheon.cli.proof import prove
    from pantheon.db.engine import Database

    database = Database(url, pool_size=3)
    try:
        return (await prove(database)).breaks
    finally:
        await database.close()


@contextmanager
def _bar(file: Path) -> Iterator[Callable[[int], None]]:
    if not (sys.stderr.isatty() and file.is_file()):
        yield _lines("restored")
        return
    with typer.progressbar(length=file.stat().st_size, label="Restoring", file=sys.stderr) as bar:
        yield bar.update


def _lines(done: str) -> Callable[[int], None]:
    """A line now and then: how much will come is not known, or nobody looks."""
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
