import typer

from pantheon.cli.connect import errors_shown

app = typer.Typer(no_args_is_help=True)


@app.command()
def migrate() -> None:
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
        head = migrations.migrate(settings.migration_url.get_secret_value(), app_url=app_url)
    typer.echo(f"The database is at revision {head}.")


@app.command()
def status() -> None:
    """Show the revision that the database is at and the one that this version expects; exit 1 if they differ."""
    import asyncio

    from pantheon.cli.connect import connect
    from pantheon.db import migrate as migrations

    async def found() -> str | None:
        async with connect() as (_, database), database.transaction() as tx:
            return await migrations.revision(tx)

    revision, head = asyncio.run(found()), migrations.head()
    typer.echo(f"database: {revision or 'empty'}\nexpected: {head}")
    raise typer.Exit(revision != head)
