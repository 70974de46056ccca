"""What a user sees of the files in their rooms."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import files
from pantheon.errors import StorageNotConfiguredError
from pantheon.workspace.files import COLUMNS, File, file_of, get_file, living, restorable
from pantheon.workspace.paging import page
from pantheon.workspace.rooms import get_room
from pantheon.workspace.storage import Storage, content_of


async def view_file(database: Database, *, user_id: UUID, file_id: UUID) -> File:
    async with database.transaction() as tx:
        return await get_file(tx, file_id, user_id=user_id)


async def list_files(
    database: Database, *, user_id: UUID, room_id: UUID, deleted: bool = False, limit: int, offset: int = 0
) -> tuple[list[File], int]:
    """One page, newest first, and how many there are in all. `deleted`: of those that can be restored."""
    condition = restorable(user_id) if deleted else living(user_id)
    query = select(*COLUMNS).where(files.c.room_id == room_id, *condition)
    query = query.order_by(files.c.created_at.desc(), files.c.id.desc())
    async with database.transaction() as tx:
        await get_room(tx, room_id, user_id=user_id)
        rows, total = await page(tx, query, limit=limit, offset=offset)
    return [file_of(row) for row in rows], total


async def open_file(
    database: Database, storage: Storage | None, *, user_id: UUID, file_id: UUID
) -> tuple[File, Iterator[bytes]]:
    """The file, and its content in pieces as it was sent."""
    file = await view_file(database, user_id=user_id, file_id=file_id)
    if storage is None:
        raise StorageNotConfiguredError
    return file, await storage.open(content_of(file.id))
