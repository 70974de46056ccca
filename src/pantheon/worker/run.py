"""Handles the inbox and runs the jobs of the queue, among them each minute the sweep that finds what fell through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import UUID

import procrastinate
import structlog
from procrastinate.exceptions import AlreadyEnqueued, UniqueViolation
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from procrastinate.worker import Worker
from sqlalchemy import text

from pantheon.db import jobs
from pantheon.db.engine import Database
from pantheon.payments.check_invariants import check_invariants
from pantheon.payments.sweep import sweep_top_ups
from pantheon.runtime import Runtime
from pantheon.turns.close_days import close_days
from pantheon.turns.recover_calls import recover_calls
from pantheon.wallets.expire_holds import expire_holds
from pantheon.worker.clean_up import clean_up
from pantheon.worker.inbox import handle_inbox
from pantheon.workspace.parse_file import parse_file, wake_unparsed_files
from pantheon.workspace.purge import purge
from pantheon.workspace.recover_turns import recover_turns

_CONCURRENCY = 8
_RESTART_SECONDS = 2
_LATE_SECONDS = 5
"""How late a busy process may be with what is done at fixed times; later, it is left to the next time."""

_logger = structlog.get_logger(__name__)


@asynccontextmanager
async def working(runtime: Runtime) -> AsyncIterator[None]:
    """Handles jobs until the block ends, then lets the running ones finish. A lost database is waited for."""
    runtime = replace(runtime, database=runtime.direct)
    # An event and not a cancellation: the libraries below may swallow one, or abort a job that is nearly done.
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_keep(part, runtime, stop)) for part in (handle_inbox, _run_jobs)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _keep(
    part: Callable[[Runtime, asyncio.Event], Awaitable[None]], runtime: Runtime, stop: asyncio.Event
) -> None:
    while not stop.is_set():
        try:
            await part(runtime, stop)
        except Exception as error:
            _logger.warning("worker_restarts", part=part.__name__.lstrip("_"), exc_info=error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RESTART_SECONDS)


async def _run_jobs(runtime: Runtime, stop: asyncio.Event) -> None:
    async with _app(runtime).open_async() as app:
        await sweep(runtime, app)
        with suppress(AlreadyEnqueued):
            await app.tasks["expire_holds"].defer_async(timestamp=0)
        if not stop.is_set():
            await _work(app, stop)


async def _work(app: procrastinate.App, stop: asyncio.Event) -> None:
    # A notification can be lost, as the one that comes while the queue is being read: then this finds the job.
    worker = Worker(
        app,
        concurrency=_CONCURRENCY,
        fetch_job_polling_interval=1,
        install_signal_handlers=False,
        delete_jobs="successful",
    )
    work, stopped = asyncio.create_task(worker.run()), asyncio.create_task(stop.wait())  # type: ignore[no-untyped-call]
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        worker.stop()  # type: ignore[no-untyped-call]
        await work
    finally:
        stopped.cancel()


def _app(runtime: Runtime) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=runtime.database.url, min_size=1, max_size=4)
    # What is due at a start is done at the start, and not caught up on beside it.
    app = procrastinate.App(connector=connector, periodic_defaults={"max_delay": _LATE_SECONDS})

    @app.task(name=jobs.PARSE_FILE)
    async def parse(file_id: str) -> None:
        if runtime.storage is not None:
            await parse_file(runtime.database, runtime.storage, UUID(file_id))

    @app.periodic(cron="* * * * *")
    @app.task(name="sweep", queueing_lock="sweep")
    async def sweep_each_minute(timestamp: int) -> None:
        await sweep(runtime, app)

    # The sixth field is seconds: no hold stays open for a minute after its end.
    @app.periodic(cron="* * * * * */20")
    @app.task(name="expire_holds", queueing_lock="expire_holds")
    async def expire_holds_each_20_seconds(timestamp: int) -> None:
        await recover_turns(runtime.database, runtime.settings)
        # A call is settled for what is known of it before its hold gives everything back.
        await recover_calls(runtime.database)
        await expire_holds(runtime.database)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="check_invariants", queueing_lock="check_invariants")
    async def check_invariants_each_five_minutes(timestamp: int) -> None:
        await check_invariants(runtime.database)

    # A day is closed an hour after its end, or by the next of these that comes.
    @app.periodic(cron="7 * * * *")
    @app.task(name="close_days", queueing_lock="close_days")
    async def close_days_each_hour(timestamp: int) -> None:
        await close_days(runtime.database)

    @app.periodic(cron="23 * * * *")
    @app.task(name=jobs.PURGE, queueing_lock=jobs.PURGE)
    async def purge_each_hour(timestamp: int) -> None:
        await purge(runtime.database, runtime.storage)

    return app


async def sweep(runtime: Runtime, app: procrastinate.App) -> None:
    await _retry_stalled_jobs(app.job_manager)
    await _drop_jobs_of_other_versions(runtime.database, app)
    if runtime.stripe is not None:
        await sweep_top_ups(runtime.database, runtime.stripe)
    if runtime.storage is not None:
        await wake_unparsed_files(runtime.database)
    await clean_up(runtime.database)


async def _drop_jobs_of_other_versions(database: Database, app: procrastinate.App) -> None:
    """While versions run side by side, a worker may be given a job that it does not know, and can only fail it.

    It is lost with no harm, since the row that it was about is found by a sweep; kept, it would ring the alarm.
    """
    async with database.transaction() as tx:
        await tx.execute(
            text("DELETE FROM procrastinate_jobs WHERE status = 'failed' AND task_name <> ALL(:known)"),
            {"known": list(app.tasks)},
        )


async def _retry_stalled_jobs(manager: JobManager) -> None:
    """A worker died with them. The queue lists such jobs, but does not give them to anybody else."""
    for job in await manager.get_stalled_jobs():
        _logger.warning("stalled_job_retried", job_id=job.id, task=job.task_name)
        try:
            await manager.retry_job(job)
        except UniqueViolation:
            # Another job waits for the same thing already, and will do its work.
            await manager.finish_job(job, Status.FAILED, delete_job=True)
