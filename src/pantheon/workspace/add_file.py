import asyncio
from typing import IO
from uuid import UUID

from sqlalchemy import insert, select, update

from pantheon import clock, ids
from pantheon.db import jobs
from pantheon.db.engine import Database
from pantheon.db.tables import files
from pantheon.errors import FileTooLargeError, NotFoundError, StorageNotConfiguredError, StorageUnavailableError
from pantheon.workspace.file_types import recognise
from pantheon.workspace.files import MAX_FILE_BYTES, File, clean_name, living, require_an_end, require_space
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
        await require_space(tx, room_id, size)
        await require_an_end(tx, room_id, size)
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
    try:
        await storage.put(content_of(file.id), content)
    except StorageUnavailableError:
        # Perhaps it is there all the same, so it goes the usual way, but takes no space from who tries again.
        async with database.transaction() as tx:
            await tx.execute(update(files).where(files.c.id == file.id).values(deleted_at=clock.now()))
        raise
    async with database.transaction() as tx:
        await tx.execute(update(files).where(files.c.id == file.id).values(stored_at=clock.now()))
        # The room may have been deleted meanwhile.
        if await tx.scalar(select(files.c.id).where(files.c.id == file.id, *living(user_id))) is None:
            raise NotFoundError("Room not found.")
        await jobs.defer_parse_file(tx, file.id, user_id=user_id)
    return file
