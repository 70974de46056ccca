"""Deletes what a user has in the workspace. It is invisible at once, together with all that belongs to it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Table, update

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import agents, chat_sessions, files, rooms
from pantheon.errors import NotFoundError
from pantheon.workspace import agents as all_agents
from pantheon.workspace import files as all_files
from pantheon.workspace import rooms as all_rooms
from pantheon.workspace import sessions as all_sessions
from pantheon.workspace.sessions import Place


async def delete_agent(database: Database, *, user_id: UUID, agent_id: UUID) -> None:
    """Its key is free again. Turns that run go on with the agent as it was."""
    await _delete(database, agents, agent_id, all_agents.living(user_id), "Agent not found.")


async def delete_room(database: Database, *, user_id: UUID, room_id: UUID) -> None:
    await _delete(database, rooms, room_id, all_rooms.living(user_id), "Room not found.")


async def delete_session(database: Database, *, user_id: UUID, place: Place, session_id: UUID) -> None:
    living = (place.is_here, *all_sessions.living(user_id))
    await _delete(database, chat_sessions, session_id, living, "Session not found.")


async def delete_file(database: Database, *, user_id: UUID, file_id: UUID) -> None:
    await _delete(database, files, file_id, all_files.living(user_id), "File not found.")


async def _delete(database: Database, table: Table, id: UUID, living: Sequence[ColumnElement[bool]], gone: str) -> None:
    async with database.transaction() as tx:
        deleted = update(table).where(table.c.id == id, *living).values(deleted_at=clock.now())
        if (await tx.scalar(deleted.returning(table.c.id))) is None:
            raise NotFoundError(gone)
