"""`pantheon serve`: the API, the pages and the worker in one process; locally the database and the sandbox too."""

from typing import Annotated

import typer

from pantheon.cli.connect import errors_shown


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    worker: Annotated[bool, typer.Option(help="Run background jobs too; without them nothing is credited.")] = True,
) -> None:
    """Serve the API and the pages, and run the background jobs.

    With APP_ENV=local and nothing else set, PostgreSQL and a stand-in for Stripe are started as well, and a link to
    sign in is printed. Ctrl-C or SIGTERM lets running requests finish.

    Examples:

      APP_ENV=local pantheon serve

      pantheon serve --host 0.0.0.0 --port 80
    """
    import asyncio

    from pantheon.cli.installation import run

    with errors_shown():
        asyncio.run(run(host=host, port=port, worker=worker))
