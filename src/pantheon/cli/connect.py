"""How a command gets at the database, and how its errors end."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pantheon.db.engine import Database
    from pantheon.settings import Settings


@contextmanager
def errors_shown() -> Iterator[None]:
    """An error that we know ends the command with its message and status 1, without a traceback."""
    import psycopg
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from pantheon.db.backup import BackupError
    from pantheon.db.embedded import EmbeddedServerError
    from pantheon.errors import DatabaseUnavailableError, PantheonError

    try:
        yield
    except (OperationalError, DatabaseUnavailableError, psycopg.OperationalError) as error:
        text = f"the database cannot be used: {reason_of(error)}"
    except ProgrammingError as error:
        first = str(error.orig).splitlines()[0]
        text = f"the database does not fit: {first}; `pantheon db status` says whether it has to be migrated"
    except (PantheonError, EmbeddedServerError, BackupError) as error:
        text = str(error)
    else:
        return
    typer.secho(f"pantheon: {text}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1)


def reason_of(error: Exception) -> str:
    """What the database's driver said, in one line."""
    from sqlalchemy.exc import DBAPIError

    wrapped = next((each for each in (error, error.__cause__) if isinstance(each, DBAPIError)), None)
    return " ".join(str(wrapped.orig if wrapped else error).split())


def home_of(settings: "Settings") -> Path:
    """The folder of a local installation: its embedded database and its sandbox."""
    from pantheon.db import embedded

    return settings.data_dir or embedded.default_home(Path.cwd())


@contextmanager
def database_urls() -> Iterator[tuple[str, str]]:
    """The database as its owner and as the application. A local installation's own server is started if need be."""
    from pantheon import settings as all_settings
    from pantheon.db import embedded

    settings = all_settings.load()
    if settings.database_url is not None and settings.migration_url is not None:
        yield settings.migration_url.get_secret_value(), settings.database_url.get_secret_value()
        return
    server = embedded.start(home_of(settings))
    try:
        yield server.owner_url, server.app_url
    finally:
        if not server.attached:
            server.stop()


@asynccontextmanager
async def connect() -> AsyncIterator[tuple["Settings", "Database"]]:
    """The settings and the migrated database. A local installation's own server is started if it does not run."""
    from pantheon import settings as all_settings
    from pantheon.db import embedded
    from pantheon.db.engine import Database
    from pantheon.db.migrate import migrate

    with errors_shown():
        settings = all_settings.load()
        server = None
        if settings.database_url is None:
            server = embedded.start(home_of(settings))
            url = server.app_url
            migrate(server.owner_url, app_url=url)
        else:
            url = settings.database_url.get_secret_value()
        # The whole proof takes three.
        database = Database(url, pool_size=3)
        try:
            yield settings, database
        finally:
            await database.close()
            if server is not None and not server.attached:
                server.stop()
