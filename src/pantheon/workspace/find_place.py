from uuid import UUID

from sqlalchemy import func, select

from pantheon.db.engine import Database
from pantheon.db.tables import agents
from pantheon.errors import ModelNotFoundError, NotFoundError
from pantheon.workspace.agents import living
from pantheon.workspace.rooms import get_room
from pantheon.workspace.sessions import Place

AGENT, ROOM = "agent/", "room/"


async def find_place(database: Database, *, user_id: UUID, model: str) -> Place | None:
    """Who `agent/KEY` or `room/ID` stands for as the name of a model; None for any other name.

    Raises ModelNotFoundError where the user has no such agent or room.
    """
    if not model.startswith((AGENT, ROOM)):
        return None
    async with database.transaction() as tx:
        if model.startswith(AGENT):
            key = func.lower(agents.c.agent_key) == model.removeprefix(AGENT).lower()
            agent_id = await tx.scalar(select(agents.c.id).where(key, *living(user_id)))
            if agent_id is None:
                raise ModelNotFoundError("You have no agent with this key.")
            return Place(agent_id=agent_id)
        try:
            room = await get_room(tx, UUID(model.removeprefix(ROOM)), user_id=user_id)
        except (ValueError, NotFoundError):
            raise ModelNotFoundError("You have no room with this id.") from None
        return Place(room_id=room.id)
