from uuid import UUID

from sqlalchemy import insert, select

from pantheon import clock, ids
from pantheon.db.engine import Database
from pantheon.db.tables import agents
from pantheon.errors import ConflictError
from pantheon.users.user import lock_user
from pantheon.workspace.agents import MAX_AGENTS, Agent, AgentFields, living, refuse_taken_key, refuse_unknown_model
from pantheon.workspace.paging import count


async def create_agent(database: Database, *, user_id: UUID, fields: AgentFields) -> Agent:
    """Raises ConflictError when the key is taken, InvalidInputError when the model is not on the rate card."""
    now = clock.now()
    agent = Agent(id=ids.uuid7(), user_id=user_id, **fields, version=1, created_at=now, updated_at=now)
    async with database.transaction() as tx:
        await lock_user(tx, user_id)
        if await count(tx, select(agents.c.id).where(*living(user_id))) >= MAX_AGENTS:
            raise ConflictError(f"There are {MAX_AGENTS} agents already. Delete one that is not used.")
        await refuse_taken_key(tx, agent.agent_key, user_id=user_id, agent_id=agent.id)
        await refuse_unknown_model(tx, agent.model_alias)
        await tx.execute(insert(agents).values(vars(agent)))
    return agent
