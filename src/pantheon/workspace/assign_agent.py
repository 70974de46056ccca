from uuid import UUID

from sqlalchemy import func, insert, select, update

from pantheon import clock, ids
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import room_agents
from pantheon.errors import ConflictError
from pantheon.workspace.agents import get_agent
from pantheon.workspace.paging import count
from pantheon.workspace.rooms import get_room
from pantheon.workspace.roster import RoomAgent, query_roster

MAX_AGENTS = 32
"""That may take part in one room."""


async def assign_agent(
    database: Database, *, user_id: UUID, room_id: UUID, agent_id: UUID, position: int | None = None
) -> RoomAgent:
    """Lets the agent take part, last unless a position is given; whoever has that one and all after it move up.

    Raises ConflictError when it takes part already.
    """
    async with database.transaction() as tx:
        await get_room(tx, room_id, user_id=user_id, lock=True)
        agent = await get_agent(tx, agent_id, user_id=user_id)
        place = (room_agents.c.room_id == room_id, room_agents.c.agent_id == agent_id)
        if await tx.scalar(select(room_agents.c.id).where(*place)) is not None:
            raise ConflictError("Agent already assigned to this room.")
        if await count(tx, query_roster(room_id, user_id).order_by(None)) >= MAX_AGENTS:
            raise ConflictError(f"There are {MAX_AGENTS} agents in this room already. Remove one first.")
        made = RoomAgent(ids.uuid7(), room_id, agent, await _free(tx, room_id, position), clock.now())
        await tx.execute(
            insert(room_agents).values(
                id=made.id, room_id=room_id, agent_id=agent_id, position=made.position, created_at=made.created_at
            )
        )
    return made


async def _free(tx: Tx, room_id: UUID, position: int | None) -> int:
    """The position itself, which nobody has any more, or without one that after the last."""
    here = room_agents.c.room_id == room_id
    if position is None:
        last = await tx.scalar(select(func.max(room_agents.c.position)).where(here))
        return 0 if last is None else last + 1
    if await tx.scalar(select(room_agents.c.id).where(here, room_agents.c.position == position)) is not None:
        later = room_agents.c.position >= position
        await tx.execute(update(room_agents).where(here, later).values(position=room_agents.c.position + 1))
    return position
