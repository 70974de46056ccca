"""What a user sees of their agents."""

from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import agents
from pantheon.workspace.agents import COLUMNS, Agent, agent_of, get_agent, living, restorable
from pantheon.workspace.paging import page


async def view_agent(database: Database, *, user_id: UUID, agent_id: UUID) -> Agent:
    async with database.transaction() as tx:
        return await get_agent(tx, agent_id, user_id=user_id)


async def list_agents(
    database: Database, *, user_id: UUID, deleted: bool = False, limit: int, offset: int = 0
) -> tuple[list[Agent], int]:
    """One page, newest first, and how many there are in all. `deleted`: of those that can be restored."""
    condition = restorable(user_id) if deleted else living(user_id)
    query = select(*COLUMNS).where(*condition).order_by(agents.c.created_at.desc(), agents.c.id.desc())
    async with database.transaction() as tx:
        rows, total = await page(tx, query, limit=limit, offset=offset)
    return [agent_of(row) for row in rows], total
