from uuid import UUID

from sqlalchemy import insert

from pantheon import clock, ids
from pantheon.db.engine import Database
from pantheon.db.tables import messages
from pantheon.workspace.transcript import MessageState
from pantheon.workspace.turn import OpenTurn


async def store_message(
    database: Database,
    turn: OpenTurn,
    *,
    position: int,
    agent_id: UUID | None,
    agent_name: str,
    content: str,
    state: MessageState,
) -> None:
    """What an agent said, once it has said it all or was stopped. The manager of a room has a name and no id."""
    async with database.transaction() as tx:
        await tx.execute(
            insert(messages).values(
                id=ids.uuid7(),
                session_id=turn.session_id,
                turn_id=turn.id,
                position=position,
                role="assistant",
                agent_id=agent_id,
                agent_name=agent_name,
                content=content,
                state=state,
                created_at=clock.now(),
            )
        )
