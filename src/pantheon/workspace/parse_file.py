"""The job behind a file: its text is read out by a process with limits, and stored beside it."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, and_, or_, select, update

from pantheon import clock, failpoints
from pantheon.db import jobs
from pantheon.db.engine import Database
from pantheon.db.tables import files
from pantheon.errors import StorageUnavailableError
from pantheon.workspace.extract import UNREADABLE
from pantheon.workspace.file_types import FileType
from pantheon.workspace.storage import Storage, content_of, text_of

MAX_ATTEMPTS = 3
"""Only a worker that died makes another necessary: what is wrong with a file stays wrong."""

_SECONDS = 60
_LEASE = timedelta(minutes=3)
_BATCH = 200

_logger = structlog.get_logger(__name__)


async def parse_file(database: Database, storage: Storage, file_id: UUID) -> None:
    """Parses the file if nobody has and nobody does; safe to call at any time and any number of times."""
    claimed = await _claim(database, file_id)
    if claimed is None:
        return
    file_type, attempt = claimed
    failpoints.reach("file.claimed")
    try:
        with TemporaryDirectory(prefix="pantheon-parse-") as folder:
            source, target = Path(folder) / "source", Path(folder) / "text"
            pieces = await storage.open(content_of(file_id))
            await asyncio.to_thread(_save, pieces, source)
            problem = await _extract(file_type, source, target)
            size = 0
            if problem is None:
                size = target.stat().st_size
                with target.open("rb") as text:
                    await storage.put(text_of(file_id), text)
    except (StorageUnavailableError, OSError) as error:
        # Nothing is wrong with the file: the sweep tries again, and this was no attempt.
        _logger.warning("parsing_put_off", file_id=str(file_id), exc_info=error)
        await _end(database, file_id, attempt, parse_status="pending", parse_attempts=attempt - 1)
        return
    if problem is None:
        await _end(database, file_id, attempt, parse_status="parsed", text_size=size)
    else:
        await _end(database, file_id, attempt, parse_status="failed", error_message=problem)


async def wake_unparsed_files(database: Database) -> None:
    """Defers a job for each file that has none: its worker died, or the storage could not be used."""
    free = or_(files.c.parse_status == "pending", _abandoned())
    query = select(files.c.id, files.c.user_id).where(
        free, files.c.stored_at.is_not(None), files.c.deleted_at.is_(None)
    )
    async with database.transaction() as tx:
        for row in (await tx.execute(query.order_by(files.c.created_at).limit(_BATCH))).all():
            await jobs.defer_parse_file(tx, row.id, user_id=row.user_id)


async def _claim(database: Database, file_id: UUID) -> tuple[FileType, int] | None:
    """The file's type and the number of this attempt, which is ours for a while; None where there is nothing to do."""
    this = (files.c.id == file_id, files.c.stored_at.is_not(None), files.c.deleted_at.is_(None))
    tried = files.c.parse_attempts >= MAX_ATTEMPTS
    given_up = f"This file could not be read, although it was tried {MAX_ATTEMPTS} times."
    async with database.transaction() as tx:
        await tx.execute(
            update(files).where(*this, tried, _abandoned()).values(parse_status="failed", error_message=given_up)
        )
        claimed = await tx.execute(
            update(files)
            .where(*this, or_(files.c.parse_status == "pending", _abandoned()))
            .values(
                parse_status="parsing",
                parse_attempts=files.c.parse_attempts + 1,
                parse_leased_until=clock.now() + _LEASE,
            )
            .returning(files.c.file_type, files.c.parse_attempts)
        )
        row = claimed.one_or_none()
    return None if row is None else (row.file_type, row.parse_attempts)


def _abandoned() -> ColumnElement[bool]:
    return and_(files.c.parse_status == "parsing", files.c.parse_leased_until < clock.now())


async def _end(database: Database, file_id: UUID, attempt: int, **values: Any) -> None:
    """Unless another attempt has begun: then this one was believed dead, and its outcome counts no more."""
    ours = (files.c.id == file_id, files.c.parse_status == "parsing", files.c.parse_attempts == attempt)
    async with database.transaction() as tx:
        await tx.execute(update(files).where(*ours).values(**values))


def _save(pieces: Iterator[bytes], target: Path) -> None:
    with target.open("wb") as file:
        file.writelines(pieces)


async def _extract(file_type: FileType, source: Path, target: Path) -> str | None:
    """None when the text is in `target`, otherwise why there is none."""
    process = await asyncio.create_subprocess_exec(
        # Isolated, and without our environment, in which there are secrets.
        *(sys.executable, "-I", "-m", "pantheon.workspace.extract", file_type, str(source), str(target)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        cwd=source.parent,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        return "This file takes too long to read. Send it in parts."
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return None
    if process.returncode == UNREADABLE:
        return said.decode().strip()
    _logger.warning("parser_died", returncode=process.returncode)
    return "This file needs too much time or memory to be read. Send it in parts."
