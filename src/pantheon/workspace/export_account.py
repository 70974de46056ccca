"""All that is stored about a user, as one zip archive: JSON lines for each kind, and the files as they were sent.

It is made while it is sent, so there is no job to wait for, nothing to keep and to delete again, and never more of it
in memory than a page of rows or a piece of a file. What changes meanwhile is there as it was or as it is. An archive
that broke off has no end and does not open, so nobody takes it for whole.
"""

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime
from typing import IO, Any, cast
from uuid import UUID

from sqlalchemy import Row

from pantheon import audit, clock
from pantheon.audit import Actor
from pantheon.db import rate_limit
from pantheon.db.engine import Database
from pantheon.errors import StorageUnavailableError
from pantheon.users.caller import Caller
from pantheon.workspace.account_rows import Kind, kinds, rows_of, stored_files
from pantheon.workspace.storage import Storage, content_of, text_of

MOST_A_DAY = 3
"""It is much work, and one that broke off has to be made anew."""


async def begin_export(database: Database, *, caller: Caller) -> None:
    """Counts and audits it, before the first byte. Raises TooManyRequestsError."""
    async with database.transaction() as tx:
        await rate_limit.hit(tx, f"exports:{caller.user_id}", limit=MOST_A_DAY, window_seconds=24 * 3600)
        # Without an address: this line can never be redacted.
        by = Actor(caller.user_id, caller.via)
        await audit.record(tx, by, "account.exported", subject=f"user:{caller.user_id}")


async def export_account(database: Database, storage: Storage | None, *, user_id: UUID) -> AsyncIterator[bytes]:
    """The archive in pieces. A file that the storage does not give is named in `missing_files.jsonl`."""
    sink, missing = _Sink(), []
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w") as archive:
        for kind in kinds(user_id):
            async for piece in _write(archive, sink, f"{kind.name}.jsonl", _lines(database, kind, user_id)):
                yield piece
        async for file in rows_of(database, stored_files(user_id), user_id):
            for name, stored in _contents(file):
                try:
                    content = await _open(storage, stored)
                except StorageUnavailableError:
                    missing.append(name)
                    continue
                async for piece in _write(archive, sink, name, content):
                    yield piece
        archive.writestr("missing_files.jsonl", "".join(f"{json.dumps({'name': name})}\n" for name in missing))
    yield sink.take()


class _Sink:
    """Where the archive is written to; what was written is taken and sent."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self) -> bytes:
        written, self._written = b"".join(self._written), []
        return written


async def _write(
    archive: zipfile.ZipFile, sink: _Sink, name: str, content: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    entry = zipfile.ZipInfo(name, clock.now().timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(entry, "w", force_zip64=True) as file:
        async for piece in content:
            # Compressing takes its time, in which nobody else should have to wait.
            await asyncio.to_thread(file.write, piece)
            if written := sink.take():
                yield written


async def _lines(database: Database, kind: Kind, user_id: UUID) -> AsyncIterator[bytes]:
    async for row in rows_of(database, kind, user_id):
        yield json.dumps(kind.shape(row), default=_json, ensure_ascii=False).encode() + b"\n"


def _contents(file: Row[Any]) -> list[tuple[str, str]]:
    """Names in the archive, made of ids as those in storage are; `files.jsonl` says how people called them."""
    original = (f"files/{file.id}.{file.file_type}", content_of(file.id))
    text = (f"files/{file.id}.text.txt", text_of(file.id))
    return [original, text] if file.parse_status == "parsed" else [original]


async def _open(storage: Storage | None, name: str) -> AsyncIterator[bytes]:
    if storage is None:
        raise StorageUnavailableError
    pieces = await storage.open(name)

    async def read() -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece

    return read()


def _json(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
