from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import agents, rooms
from pantheon.workspace import agents as all_agents
from pantheon.workspace import rooms as all_rooms
from pantheon.workspace.find_place import AGENT, ROOM


@dataclass(frozen=True)
class NamedPlace:
    model: str
    """As `find_place` knows it."""
    name: str
    created_at: datetime


async def list_places(database: Database, *, user_id: UUID) -> list[NamedPlace]:
    """The agents of a user, then the rooms, as names of models."""
    mine = {
        AGENT: select(agents.c.agent_key, agents.c.name, agents.c.created_at)
        .where(*all_agents.living(user_id))
        .order_by(agents.c.agent_key),
        ROOM: select(rooms.c.id, rooms.c.name, rooms.c.created_at)
        .where(*all_rooms.living(user_id))
        .order_by(rooms.c.name, rooms.c.id),
    }
    async with database.transaction() as tx:
        return [
            NamedPlace(f"{prefix}{key}", name, created_at)
            for prefix, query in mine.items()
            for key, name, created_at in await tx.execute(query)
        ]
