from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import messages
from pantheon.workspace.transcript import MessageState
from pantheon.workspace.turn import OpenTurn
from pantheon.workspace.when_back import when_back


async def store_message(
    database: Database,
    turn: OpenTurn,
    *,
    id: UUID,
    position: int,
    agent_id: UUID | None,
    agent_name: str,
    content: str,
    state: MessageState,
) -> None:
    """What an agent said, once it has said it all or was stopped. The manager of a room has a name and no id.

    Waits for a database that is away. What is stored already stays as it is: by a try whose answer was lost, or by
    whoever took this process for dead.
    """
    message = insert(messages).values(
        id=id,
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

    async def store() -> None:
        async with database.transaction() as tx:
            await tx.execute(message.on_conflict_do_nothing())

    await when_back(store)
