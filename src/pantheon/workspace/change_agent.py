from uuid import UUID

from sqlalchemy import update

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import agents
from pantheon.errors import ConflictError
from pantheon.users.user import lock_user
from pantheon.workspace.agents import (
    COLUMNS,
    Agent,
    AgentFields,
    agent_of,
    get_agent,
    refuse_taken_key,
    refuse_unknown_model,
)


async def change_agent(
    database: Database, *, user_id: UUID, agent_id: UUID, changes: AgentFields, based_on: int | None = None
) -> Agent:
    """Makes a new version of the agent. Turns that run already go on with the one they began with.

    `based_on` is the version that the author read. Raises ConflictError when it is not the present one, or when the key
    is taken; InvalidInputError when the model is not on the rate card.
    """
    async with database.transaction() as tx:
        await lock_user(tx, user_id)
        agent = await get_agent(tx, agent_id, user_id=user_id, lock=True)
        if based_on is not None and based_on != agent.version:
            raise ConflictError("This agent was changed meanwhile. Read it and try again.")
        if "agent_key" in changes:
            await refuse_taken_key(tx, changes["agent_key"], user_id=user_id, agent_id=agent_id)
        if "model_alias" in changes:
            await refuse_unknown_model(tx, changes["model_alias"])
        row = await tx.execute(
            update(agents)
            .where(agents.c.id == agent_id)
            .values(**changes, version=agent.version + 1, updated_at=clock.now())
            .returning(*COLUMNS)
        )
        return agent_of(row.mappings().one())
