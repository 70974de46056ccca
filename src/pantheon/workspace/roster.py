"""Who takes part in a room, and in which order. An agent that was deleted keeps its place, but is not seen there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import agents, room_agents
from pantheon.errors import NotFoundError
from pantheon.workspace import agents as all_agents
from pantheon.workspace.agents import Agent
from pantheon.workspace.paging import page
from pantheon.workspace.rooms import get_room

MAX_POSITION = 1_000_000


@dataclass(frozen=True)
class RoomAgent:
    id: UUID
    room_id: UUID
    agent: Agent
    position: int
    created_at: datetime


def query_roster(room_id: UUID, user_id: UUID) -> Select[Any]:
    """Rows for `room_agent_of`, in the order of their positions."""
    return (
        select(
            *all_agents.COLUMNS,
            room_agents.c.id.label("room_agent_id"),
            room_agents.c.position,
            room_agents.c.created_at.label("assigned_at"),
        )
        .join(agents, agents.c.id == room_agents.c.agent_id)
        .where(room_agents.c.room_id == room_id, *all_agents.living(user_id))
        .order_by(room_agents.c.position)
    )


def room_agent_of(row: RowMapping, room_id: UUID) -> RoomAgent:
    agent = Agent(**{column.name: row[column.name] for column in all_agents.COLUMNS})
    return RoomAgent(row["room_agent_id"], room_id, agent, row["position"], row["assigned_at"])


async def get_room_agent(tx: Tx, room_id: UUID, agent_id: UUID, *, user_id: UUID) -> RoomAgent:
    """Raises NotFoundError for an agent that does not take part."""
    query = query_roster(room_id, user_id).where(room_agents.c.agent_id == agent_id)
    row = (await tx.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("This agent is not in the room.")
    return room_agent_of(row, room_id)


async def list_room_agents(
    database: Database, *, user_id: UUID, room_id: UUID, limit: int, offset: int = 0
) -> tuple[list[RoomAgent], int]:
    """One page, in the order of their positions, and how many there are in all."""
    async with database.transaction() as tx:
        await get_room(tx, room_id, user_id=user_id)
        rows, total = await page(tx, query_roster(room_id, user_id), limit=limit, offset=offset)
    return [room_agent_of(row, room_id) for row in rows], total
