from dataclasses import replace
from uuid import UUID

from sqlalchemy import update

from pantheon.db.engine import Database
from pantheon.db.tables import room_agents
from pantheon.workspace.rooms import get_room
from pantheon.workspace.roster import RoomAgent, get_room_agent


async def move_agent(database: Database, *, user_id: UUID, room_id: UUID, agent_id: UUID, position: int) -> RoomAgent:
    """Gives the agent another position; those between its old and its new one step aside."""
    async with database.transaction() as tx:
        await get_room(tx, room_id, user_id=user_id, lock=True)
        moved = await get_room_agent(tx, room_id, agent_id, user_id=user_id)
        step = 1 if position < moved.position else -1
        first, last = sorted((position, moved.position))
        between = room_agents.c.position.between(first, last)
        others = (room_agents.c.room_id == room_id, room_agents.c.id != moved.id, between)
        await tx.execute(update(room_agents).where(*others).values(position=room_agents.c.position + step))
        await tx.execute(update(room_agents).where(room_agents.c.id == moved.id).values(position=position))
    return replace(moved, position=position)
