import asyncio
from typing import IO
from uuid import UUID

from sqlalchemy import func, insert, select, update

from pantheon import clock, ids
from pantheon.db import jobs
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import files
from pantheon.errors import ConflictError, FileTooLargeError, NotFoundError, RoomFullError, StorageNotConfiguredError
from pantheon.workspace.file_types import recognise
from pantheon.workspace.files import MAX_FILE_BYTES, MAX_FILES, MAX_ROOM_BYTES, File, clean_name, living
from pantheon.workspace.rooms import get_room
from pantheon.workspace.storage import Storage, content_of


async def add_file(
    database: Database,
    storage: Storage | None,
    *,
    user_id: UUID,
    room_id: UUID,
    filename: str,
    content: IO[bytes],
    size: int,
) -> File:
    """Stores the file. Its row comes first, so that nothing is ever stored that no row leads to.

    Raises FileTooLargeError, RoomFullError, UnsupportedFileError, StorageUnavailableError.
    """
    if storage is None:
        raise StorageNotConfiguredError
    if size > MAX_FILE_BYTES:
        raise FileTooLargeError
    name = clean_name(filename)
    file_type = await asyncio.to_thread(recognise, name, content)
    file = File(ids.uuid7(), user_id, room_id, name, file_type, size, "pending", None, None, clock.now())
    async with database.transaction() as tx:
        await get_room(tx, room_id, user_id=user_id, lock=True)
        await _require_space(tx, room_id, size)
        await tx.execute(
            insert(files).values(
                id=file.id,
                user_id=user_id,
                room_id=room_id,
                filename=name,
                file_type=file_type,
                file_size=size,
                created_at=file.created_at,
            )
        )
    await storage.put(content_of(file.id), content)
    async with database.transaction() as tx:
        await tx.execute(update(files).where(files.c.id == file.id).values(stored_at=clock.now()))
        # The room may have been deleted meanwhile.
        if await tx.scalar(select(files.c.id).where(files.c.id == file.id, *living(user_id))) is None:
            raise NotFoundError("Room not found.")
        await jobs.defer_parse_file(tx, file.id, user_id=user_id)
    return file


async def _require_space(tx: Tx, room_id: UUID, size: int) -> None:
    """Counts what is on its way as well: the room is locked, so two at once cannot share the last space."""
    here = (files.c.room_id == room_id, files.c.deleted_at.is_(None))
    used = select(func.count(), func.coalesce(func.sum(files.c.file_size), 0)).select_from(files).where(*here)
    number, taken = (await tx.execute(used)).one()
    if number >= MAX_FILES:
        raise ConflictError(f"There are {MAX_FILES} files in this room already. Delete one that is not needed.")
    if taken + size > MAX_ROOM_BYTES:
        raise RoomFullError
