from typing import Annotated

import typer

from pantheon.cli.connect import errors_shown
from pantheon.cli.output import AsJson, show

app = typer.Typer(no_args_is_help=True)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the schema, the ledger's functions and the application's rights up to this version.

    Runs as the owner, DATABASE_MIGRATION_URL; safe to repeat and to run twice at once.

    Example: DATABASE_MIGRATION_URL=postgresql://owner@db/pantheon pantheon db migrate
    """
    from pantheon import settings as all_settings
    from pantheon.db import migrate as migrations
    from pantheon.errors import SettingsError

    with errors_shown():
        settings = all_settings.load()
        if settings.migration_url is None or settings.database_url is None:
            raise SettingsError("DATABASE_URL is not set. A local installation migrates its own database by itself.")
        app_url = settings.database_url.get_secret_value()
        revision = migrations.migrate(settings.migration_url.get_secret_value(), app_url=app_url)
    newer = migrations.is_newer(revision)
    made_by = ", made by a newer version. Nothing was changed" if newer else ""
    show(f"The database is at revision {revision}{made_by}.", {"database": revision, "newer": newer}, as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the revision that the database is at and the one that this version expects; exit 1 if they differ.

    Example: pantheon db status
    """
    import asyncio

    from pantheon.cli.connect import connect
    from pantheon.db import migrate as migrations

    async def found() -> str | None:
        async with connect() as (_, database), database.transaction() as tx:
            return await migrations.revision(tx)

    revision, head = asyncio.run(found()), migrations.head()
    text = f"database: {revision or 'empty'}\nexpected: {head}"
    show(text, {"database": revision, "expected": head}, as_json=as_json)
    raise typer.Exit(revision != head)


@app.command()
def shell(
    owner: Annotated[
        bool, typer.Option("--owner", help="As the owner of the schema, who may change anything.")
    ] = False,
) -> None:
    """Open psql on the database, as the application, whose rights are narrow, or as the owner.

    Example: pantheon db shell
    """
    import os
    import signal
    import subprocess

    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from pantheon.cli.connect import database_urls
    from pantheon.errors import SettingsError

    with errors_shown(), database_urls() as (owner_url, app_url):
        program = _psql()
        if program is None:
            raise SettingsError(
                "There is no psql. Install PostgreSQL's client, for example Debian's postgresql-client."
            )
        connection = conninfo_to_dict(owner_url if owner else app_url)
        # In the environment and not among the arguments, which every account of this machine can read.
        password = str(connection.pop("password", None) or os.environ.get("PGPASSWORD", ""))
        address = make_conninfo("", **connection)
        # Ctrl-C cancels what psql is doing; it must not end this process before psql.
        signal.signal(signal.SIGINT, lambda *_: None)
        found = subprocess.run([program, address], env=os.environ | {"PGPASSWORD": password})
    raise typer.Exit(found.returncode)


def _psql() -> str | None:
    import shutil

    from pantheon.db.embedded import binary_folders

    folders = map(str, binary_folders())
    return shutil.which("psql") or next(
        (found for folder in folders if (found := shutil.which("psql", path=folder))), None
    )
