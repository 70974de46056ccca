"""The job queue. Jobs are deferred by name, in the transaction of the row that they are about.

The row is the truth and the job only wakes somebody to look at it: a sweep each minute finds rows whose job was lost.
"""

from contextlib import suppress
from uuid import UUID

from procrastinate import PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.manager import JobManager
from procrastinate.tasks import configure_task
from sqlalchemy import text

from pantheon.db.engine import Tx

PARSE_FILE = "parse_file"
PURGE = "purge"

_PARSED_AT_ONCE = 2
"""Files, in the whole installation: each may take a minute and half a gigabyte, and nobody is charged for it."""

_FILES_WAITING = text("""
    SELECT count(*) FROM files
    WHERE user_id = :user_id AND stored_at IS NOT NULL AND deleted_at IS NULL
      AND parse_status IN ('pending', 'parsing')""")

_manager = JobManager(connector=PsycopgConnector())


async def defer_parse_file(tx: Tx, file_id: UUID, *, user_id: UUID) -> None:
    """Wakes a worker once `tx` has committed, and never if it does not."""
    waiting = await tx.scalar(_FILES_WAITING, {"user_id": user_id})
    deferrer = configure_task(
        name=PARSE_FILE,
        job_manager=_manager,
        # Behind all other work, and behind the first files of those who sent fewer.
        priority=-int(waiting or 0),
        # At most one job waits for a file.
        queueing_lock=f"{PARSE_FILE}:{file_id}",
        # Jobs with the same lock run one after the other.
        lock=f"{PARSE_FILE}:{user_id.int % _PARSED_AT_ONCE}",
        connection=(await tx.get_raw_connection()).driver_connection,
    )
    with suppress(AlreadyEnqueued):
        async with tx.begin_nested():
            await deferrer.defer_async(file_id=str(file_id))


async def defer_purge(tx: Tx) -> None:
    """What became due to be purged in `tx` is purged at once, and not only within the hour."""
    deferrer = configure_task(
        name=PURGE,
        job_manager=_manager,
        queueing_lock=PURGE,
        connection=(await tx.get_raw_connection()).driver_connection,
    )
    with suppress(AlreadyEnqueued):
        async with tx.begin_nested():
            await deferrer.defer_async(timestamp=0)


async def exists(tx: Tx, job_id: int) -> bool:
    return bool(await tx.scalar(text("SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE id = :id)"), {"id": job_id}))


async def retry(tx: Tx, job_id: int) -> bool:
    """Puts a job that failed into the queue again; False for one that did not fail.

    Where another job waits for the same thing, that does its work, and this one is dropped.
    """
    failed = text("SELECT queueing_lock FROM procrastinate_jobs WHERE id = :id AND status = 'failed' FOR UPDATE")
    job = (await tx.execute(failed, {"id": job_id})).one_or_none()
    if job is None:
        return False
    waits = text("SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo')")
    if await tx.scalar(waits, {"lock": job.queueing_lock}):
        await tx.execute(text("DELETE FROM procrastinate_jobs WHERE id = :id"), {"id": job_id})
    else:
        await tx.execute(text("SELECT procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)"), {"id": job_id})
    return True
