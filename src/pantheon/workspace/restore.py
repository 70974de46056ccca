"""Gives back what a user has deleted within the last days, together with all that belonged to it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Table, select, update

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import agents, chat_sessions, files, rooms
from pantheon.errors import NotFoundError
from pantheon.users.user import lock_user
from pantheon.workspace import agents as all_agents
from pantheon.workspace import files as all_files
from pantheon.workspace import rooms as all_rooms
from pantheon.workspace import sessions as all_sessions
from pantheon.workspace.agents import Agent, agent_of, refuse_taken_key
from pantheon.workspace.files import File, file_of, require_space
from pantheon.workspace.rooms import Room, get_room, room_of
from pantheon.workspace.sessions import Session, session_of


async def restore_agent(database: Database, *, user_id: UUID, agent_id: UUID) -> Agent:
    """It takes part again where it did. Raises ConflictError when another agent has its key by now."""
    condition = all_agents.restorable(user_id)
    async with database.transaction() as tx:
        await lock_user(tx, user_id)
        agent_key = await tx.scalar(select(agents.c.agent_key).where(agents.c.id == agent_id, *condition))
        if agent_key is not None:
            await refuse_taken_key(tx, agent_key, user_id=user_id, agent_id=agent_id)
        row = await _restore(tx, agents, agent_id, condition, all_agents.COLUMNS, "Agent")
    return agent_of(row)


async def restore_room(database: Database, *, user_id: UUID, room_id: UUID) -> Room:
    async with database.transaction() as tx:
        row = await _restore(tx, rooms, room_id, all_rooms.restorable(user_id), all_rooms.COLUMNS, "Room")
    return room_of(row)


async def restore_session(database: Database, *, user_id: UUID, session_id: UUID) -> Session:
    """Its room or its agent has to be there."""
    condition = all_sessions.restorable(user_id)
    async with database.transaction() as tx:
        row = await _restore(tx, chat_sessions, session_id, condition, all_sessions.COLUMNS, "Session")
    return session_of(row)


async def restore_file(database: Database, *, user_id: UUID, file_id: UUID) -> File:
    """Its room has to be there. Raises RoomFullError when others have taken its space by now."""
    condition = all_files.restorable(user_id)
    async with database.transaction() as tx:
        query = select(files.c.room_id, files.c.file_size).where(files.c.id == file_id, *condition)
        found = (await tx.execute(query)).one_or_none()
        if found is not None:
            await get_room(tx, found.room_id, user_id=user_id, lock=True)
            await require_space(tx, found.room_id, found.file_size)
        row = await _restore(tx, files, file_id, condition, all_files.COLUMNS, "File")
    return file_of(row)


async def _restore(
    tx: Tx, table: Table, id: UUID, condition: Sequence[ColumnElement[bool]], columns: Sequence[Any], name: str
) -> RowMapping:
    restored = await tx.execute(
        update(table).where(table.c.id == id, *condition).values(deleted_at=None).returning(*columns)
    )
    row = restored.mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"{name} not found.")
    return row
