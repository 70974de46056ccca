"""An operator lets work that was given up be done once more."""

from uuid import UUID

from sqlalchemy import Table, select, update

from pantheon import audit
from pantheon.db import jobs
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import files, inbox_events, turns
from pantheon.errors import ConflictError, NotFoundError
from pantheon.payments.replay_event import replay_event
from pantheon.workspace.list_dead_jobs import JobKind
from pantheon.workspace.parse_file import MAX_ATTEMPTS

_LONGEST_NUMBER = 18


async def retry_job(database: Database, actor: audit.Actor, *, job_id: str) -> tuple[JobKind, bool]:
    """What it is, and whether it is done anew; False where it has not failed (any more).

    Raises NotFoundError, and ConflictError for a turn: it would spend what only its user may spend.
    """
    async with database.transaction() as tx:
        kind = await _kind_of(tx, job_id)
        if kind == "turn":
            raise ConflictError("Only its user can send a turn again, because it spends their credits.")
        if kind != "event":
            retried = await (jobs.retry(tx, int(job_id)) if kind == "job" else _retry_file(tx, UUID(job_id)))
            if retried:
                await audit.record(tx, actor, "job.retried", subject=f"{kind}:{job_id}")
            return kind, retried
    _, replayed = await replay_event(database, actor, inbox_event_id=UUID(job_id))
    return kind, replayed


async def _kind_of(tx: Tx, job_id: str) -> JobKind:
    """Jobs of the queue have numbers, and all else has an id that nothing else has."""
    if job_id.isascii() and job_id.isdigit() and len(job_id) <= _LONGEST_NUMBER:
        if await jobs.exists(tx, int(job_id)):
            return "job"
        raise NotFoundError("Job not found.")
    try:
        id = UUID(job_id)
    except ValueError:
        raise NotFoundError("Job not found.") from None
    places: tuple[tuple[JobKind, Table], ...] = (
        ("event", inbox_events),
        ("file", files),
        ("turn", turns),
    )
    for kind, table in places:
        if await tx.scalar(select(table.c.id).where(table.c.id == id)) is not None:
            return kind
    raise NotFoundError("Job not found.")


async def _retry_file(tx: Tx, file_id: UUID) -> bool:
    given_up = (files.c.parse_status == "failed", files.c.parse_attempts >= MAX_ATTEMPTS, files.c.deleted_at.is_(None))
    user_id = await tx.scalar(
        update(files)
        .where(files.c.id == file_id, *given_up)
        .values(parse_status="pending", parse_attempts=0, error_message=None)
        .returning(files.c.user_id)
    )
    if user_id is None:
        return False
    await jobs.defer_parse_file(tx, file_id, user_id=user_id)
    return True
