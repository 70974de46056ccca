"""`pantheon worker`: the background jobs as a process of their own, beside `pantheon serve --no-worker`."""

from pantheon.cli.connect import errors_shown


def worker() -> None:
    """Run the background jobs, and nothing else. Several may run at once; each job is done by one of them.

    SIGTERM or Ctrl-C lets the running jobs finish. The settings are those of `pantheon serve`, which is then started
    with --no-worker.

    Example: pantheon worker
    """
    import asyncio

    from pantheon.cli.installation import run_worker

    with errors_shown():
        asyncio.run(run_worker())
