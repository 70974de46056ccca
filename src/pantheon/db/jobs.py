"""The job queue. Jobs are deferred by name, in the transaction of the row that they are about.

The row is the truth and the job only wakes somebody to look at it: a sweep each minute finds rows whose job was lost.
"""

from datetime import datetime
from uuid import UUID

from procrastinate import PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.manager import JobManager
from procrastinate.tasks import configure_task
from sqlalchemy import text

from pantheon.db.engine import Tx

HANDLE_INBOX_EVENT = "handle_inbox_event"

_HASTEN = text("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE queueing_lock = :lock AND status = 'todo'")

_manager = JobManager(connector=PsycopgConnector())


async def defer_inbox_event(tx: Tx, inbox_event_id: UUID, *, at: datetime | None = None) -> None:
    """Wakes a worker for a stored event once `tx` has committed (or at the time `at`), and never if it does not."""
    lock = f"inbox_event:{inbox_event_id}"
    driver = (await tx.get_raw_connection()).driver_connection
    deferrer = configure_task(
        name=HANDLE_INBOX_EVENT,
        job_manager=_manager,
        # At most one job waits for an event; more would find it handled.
        queueing_lock=lock,
        schedule_at=at,
        connection=driver,
    )
    try:
        async with tx.begin_nested():
            await deferrer.defer_async(inbox_event_id=str(inbox_event_id))
    except AlreadyEnqueued:
        if at is None:
            # The one that waits may wait for an attempt in an hour, and somebody wants it now.
            await tx.execute(_HASTEN, {"lock": lock})
