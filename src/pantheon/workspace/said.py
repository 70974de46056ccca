"""What was said in a session: in short where there is a summary of it, and word for word since then."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Tx
from pantheon.db.tables import chat_summaries, messages, turns


@dataclass(frozen=True)
class Said:
    turn_index: int
    agent_id: UUID | None
    """None for the person, and for what the manager asks in their place."""
    name: str | None
    text: str


@dataclass(frozen=True)
class Summary:
    through_turn_index: int
    text: str


async def said_before(tx: Tx, session_id: UUID, turn_index: int) -> tuple[Summary | None, list[Said]]:
    """What was said in the session before this turn: the beginning in short, the rest oldest first.

    That is never very much, because whatever goes beyond what agents are told is summarised: see conversation.py.
    """
    newest = chat_summaries.c.through_turn_index.desc()
    row = (
        await tx.execute(
            select(chat_summaries.c.through_turn_index, chat_summaries.c.content)
            .where(chat_summaries.c.session_id == session_id)
            .order_by(newest)
            .limit(1)
        )
    ).one_or_none()
    summary = None if row is None else Summary(*row)
    query = (
        select(turns.c.turn_index, messages.c.agent_id, messages.c.agent_name, messages.c.content)
        .join(turns, turns.c.id == messages.c.turn_id)
        .where(messages.c.session_id == session_id, turns.c.turn_index < turn_index, messages.c.role != "tool")
        .where(turns.c.turn_index > (summary.through_turn_index if summary else -1))
        .order_by(turns.c.turn_index, messages.c.position)
    )
    said = [Said(*row) for row in await tx.execute(query)]
    return summary, [each for each in said if each.text.strip()]
