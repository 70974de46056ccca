from uuid import UUID

from sqlalchemy import delete

from pantheon.db.engine import Database
from pantheon.db.tables import room_agents
from pantheon.workspace.rooms import get_room
from pantheon.workspace.roster import get_room_agent


async def unassign_agent(database: Database, *, user_id: UUID, room_id: UUID, agent_id: UUID) -> None:
    """The agent takes part no longer; what it said stays. Raises NotFoundError when it did not."""
    async with database.transaction() as tx:
        await get_room(tx, room_id, user_id=user_id, lock=True)
        assigned = await get_room_agent(tx, room_id, agent_id, user_id=user_id)
        await tx.execute(delete(room_agents).where(room_agents.c.id == assigned.id))
