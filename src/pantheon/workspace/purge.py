"""Ends what was deleted too long ago to be restored: rows, contents and texts. Safe to run at any time.

It also ends all that erased users had, which is due at once: that they are gone is all that it needs to know, so what a
process that died has left, or what a request that had begun before has added, goes with its next run.
"""

from datetime import timedelta

from sqlalchemy import and_, delete, or_, select, update

from pantheon import clock, failpoints
from pantheon.db.engine import Database
from pantheon.db.tables import agents, chat_sessions, files, rooms, users
from pantheon.workspace.retention import KEPT, outdated
from pantheon.workspace.storage import Storage, content_of, text_of

_BATCH = 100
_UPLOAD_TAKES_AT_MOST = timedelta(minutes=15)


async def purge(database: Database, storage: Storage | None) -> None:
    """Raises StorageUnavailableError; then the rest is left for the next time."""
    await _give_up_uploads(database)
    await _delete_what_the_erased_had(database)
    if storage is not None:
        while await _purge_files(database, storage):
            pass
    # A file's row leads to its content, so a room stays until its files are gone.
    empty = ~select(files.c.id).where(files.c.room_id == rooms.c.id).exists()
    for table, condition in ((rooms, empty), (agents, None), (chat_sessions, None)):
        due = select(table.c.id).where(outdated(table))
        async with database.transaction() as tx:
            ids = (await tx.scalars(due if condition is None else due.where(condition))).all()
        # One by one, because with each of them goes all that was said in it.
        for id in ids:
            async with database.transaction() as tx:
                await tx.execute(delete(table).where(table.c.id == id, outdated(table)))


async def _give_up_uploads(database: Database) -> None:
    """Whoever sent the file went away, or the storage did. Perhaps some of it is there, so it goes the usual way."""
    begun = clock.now() - _UPLOAD_TAKES_AT_MOST
    unfinished = (files.c.stored_at.is_(None), files.c.deleted_at.is_(None), files.c.created_at < begun)
    async with database.transaction() as tx:
        await tx.execute(update(files).where(*unfinished).values(deleted_at=clock.now()))


async def _delete_what_the_erased_had(database: Database) -> None:
    """As if it had been deleted long ago."""
    erased = select(users.c.id).where(users.c.state == "deleted")
    for table in (rooms, agents, chat_sessions, files):
        theirs = (table.c.user_id.in_(erased), or_(table.c.deleted_at.is_(None), ~outdated(table)))
        # An upload on its way is given up first: what it still stores would have no row that leads to it.
        arrived = (files.c.stored_at.is_not(None) | files.c.deleted_at.is_not(None),) if table is files else ()
        async with database.transaction() as tx:
            await tx.execute(update(table).where(*theirs, *arrived).values(deleted_at=clock.now() - KEPT))


async def _purge_files(database: Database, storage: Storage) -> bool:
    """One batch; whether there was any. The contents go first, so that a row is left wherever something is left."""
    query = select(files.c.id).join(rooms, rooms.c.id == files.c.room_id)
    uploading = and_(files.c.stored_at.is_(None), files.c.deleted_at.is_(None))
    # Its text would be stored afterwards.
    parsing = and_(files.c.parse_status == "parsing", files.c.parse_leased_until > clock.now())
    due = (or_(outdated(files), outdated(rooms)), ~uploading, ~parsing)
    async with database.transaction() as tx:
        found = await tx.scalars(query.where(*due).limit(_BATCH))
        ids = found.all()
    for id in ids:
        await storage.delete(content_of(id))
        await storage.delete(text_of(id))
        failpoints.reach("purge.content_deleted")
    async with database.transaction() as tx:
        await tx.execute(delete(files).where(files.c.id.in_(ids)))
    return bool(ids)
