"""Work that was given up, wherever it was done, as operators see it. Nothing of what users wrote is in it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import text

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.errors import TurnInterruptedError
from pantheon.workspace.parse_file import MAX_ATTEMPTS

JobKind = Literal["job", "event", "file", "turn"]
"""A job of the queue, an event of Stripe, the parsing of a file, a turn whose process died."""

_TURNS_SHOWN = timedelta(days=7)
"""Nobody can do anything about them: they only tell that processes die."""


@dataclass(frozen=True)
class DeadJob:
    kind: JobKind
    id: str
    what: str
    """The task, the type of the event or of the file, the mode of the turn."""
    reason: str | None
    """None for a job of the queue: the log has it."""
    attempts: int
    since: datetime


async def list_dead_jobs(
    database: Database, *, kind: JobKind | None = None, but: JobKind | None = None, limit: int, offset: int = 0
) -> tuple[list[DeadJob], int]:
    """One page, newest first, and how many there are in all. `but`: without these."""
    about = {
        "kind": kind,
        "but": but,
        "most": MAX_ATTEMPTS,
        "interrupted": TurnInterruptedError.code,
        "turns_from": clock.now() - _TURNS_SHOWN,
    }
    async with database.transaction() as tx:
        total = await tx.scalar(text(f"SELECT count(*) FROM ({_DEAD}) dead"), about)  # noqa: S608 - our own text
        page = text(f"{_DEAD} ORDER BY since DESC, id LIMIT :limit OFFSET :offset")
        rows = await tx.execute(page, about | {"limit": limit, "offset": offset})
        return [DeadJob(*row) for row in rows], total or 0


_DEAD = """
    SELECT kind, id, what, reason, attempts, since FROM (
        SELECT 'job' AS kind, j.id::text AS id, j.task_name AS what, NULL AS reason, j.attempts AS attempts,
               coalesce((SELECT max(e.at) FROM procrastinate_events e WHERE e.job_id = j.id), now()) AS since
        FROM procrastinate_jobs j WHERE j.status = 'failed'
        UNION ALL
        SELECT 'event', id::text, type, coalesce(outcome, last_error), attempts, received_at
        FROM inbox_events WHERE state IN ('parked', 'dead')
        UNION ALL
        SELECT 'file', id::text, file_type, error_message, parse_attempts, created_at
        FROM files WHERE parse_status = 'failed' AND parse_attempts >= :most AND deleted_at IS NULL
        UNION ALL
        SELECT 'turn', id::text, mode, error_code, 1, ended_at
        FROM turns WHERE status = 'failed' AND error_code = :interrupted AND ended_at > :turns_from
    ) dead WHERE kind = coalesce(CAST(:kind AS text), kind) AND kind IS DISTINCT FROM CAST(:but AS text)
"""
