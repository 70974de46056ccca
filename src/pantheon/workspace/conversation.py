"""What an agent is told: the conversation so far as its own model sees it, within what that model can read.

Each agent takes itself for the assistant. Everybody else, people and other agents, is the user who names themselves,
and the first word is always a user's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from sqlalchemy import select

from pantheon.db.engine import Tx
from pantheon.db.tables import messages, turns
from pantheon.models.tokens import most_text_tokens

_MOST_MESSAGES = 400
"""Of a session that are looked at."""


@dataclass(frozen=True)
class Said:
    agent_id: UUID | None
    """None for the person."""
    name: str | None
    text: str


@dataclass(frozen=True)
class Told:
    """What is put before a model: `prompt` is the last word, `history` came before it."""

    history: list[ModelMessage]
    prompt: str
    left_out: Sequence[Said]
    """What did not fit, oldest first."""


async def said_before(tx: Tx, session_id: UUID, turn_index: int) -> list[Said]:
    """What was said in the session before this turn, oldest first."""
    query = (
        select(messages.c.agent_id, messages.c.agent_name, messages.c.content)
        .join(turns, turns.c.id == messages.c.turn_id)
        .where(messages.c.session_id == session_id, turns.c.turn_index < turn_index, messages.c.role != "tool")
        .order_by(turns.c.turn_index.desc(), messages.c.position.desc())
        .limit(_MOST_MESSAGES)
    )
    return [Said(*row) for row in reversed((await tx.execute(query)).all()) if row.content.strip()]


def told_to(agent_id: UUID, said: Sequence[Said], *, tokens: int, summary: str | None = None) -> Told:
    """The latest of what was said that is within `tokens`. The last word is in it whatever its length."""
    kept: list[Said] = []
    left = tokens - (most_text_tokens(summary) if summary else 0)
    for each in reversed(said):
        left -= most_text_tokens(each.text) + 16
        if kept and left < 0:
            break
        kept.append(each)
    kept.reverse()
    blocks = _blocks(agent_id, kept)
    if summary:
        blocks = _joined([(False, f"[Summary of what was said before]\n{summary}"), *blocks])
    elif blocks[0][0]:
        blocks = [(False, "[The conversation began earlier.]"), *blocks]
    if blocks[-1][0]:
        blocks.append((False, "[Go on.]"))
    *before, (_, prompt) = blocks
    return Told([_message(own, text) for own, text in before], prompt, said[: len(said) - len(kept)])


def _blocks(agent_id: UUID, said: Sequence[Said]) -> list[tuple[bool, str]]:
    """Whether it is the agent's own word, and the text."""
    return _joined(
        [
            (
                each.agent_id == agent_id,
                each.text if each.agent_id in (None, agent_id) else f"[{each.name}] {each.text}",
            )
            for each in said
        ]
    )


def _joined(blocks: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Models expect the two sides to take turns."""
    joined: list[tuple[bool, str]] = []
    for own, text in blocks:
        if joined and joined[-1][0] == own:
            joined[-1] = (own, f"{joined[-1][1]}\n\n{text}")
        else:
            joined.append((own, text))
    return joined


def _message(own: bool, text: str) -> ModelMessage:
    if own:
        return ModelResponse(parts=[TextPart(content=text)])
    return ModelRequest(parts=[UserPromptPart(content=text)])
