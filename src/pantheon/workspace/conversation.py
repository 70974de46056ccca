"""What an agent is told: the conversation so far as its own model sees it, within what that model can read.

Each agent takes itself for the assistant. Everybody else is the user, other agents under their names, and the first
word is always a user's. What does not fit any more is replaced by a summary: see summarise.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart

from pantheon.models.tokens import most_text_tokens
from pantheon.workspace.said import Said, Summary

_PER_MESSAGE = 16


@dataclass(frozen=True)
class Told:
    """What is put before a model: `prompt` is the last word, `history` came before it."""

    history: list[ModelMessage]
    prompt: str
    left_out: Sequence[Said]
    """What did not fit, oldest first."""


def told_to(agent_id: UUID, said: Sequence[Said], *, tokens: int, summary: Summary | None) -> Told:
    """The latest of what was said that is within `tokens`. The last word is in it whatever its length."""
    left = tokens - (most_text_tokens(summary.text) if summary else 0)
    first = len(said)
    while first > 0:
        left -= most_text_tokens(said[first - 1].text) + _PER_MESSAGE
        if left < 0 and first < len(said):
            break
        first -= 1
    blocks = [(each.agent_id == agent_id, _as_heard(each, agent_id)) for each in said[first:]]
    if summary is not None:
        blocks = [(False, f"[Summary of what was said before]\n{summary.text}"), *blocks]
    elif blocks[0][0]:
        blocks = [(False, "[The conversation began earlier.]"), *blocks]
    if blocks[-1][0]:
        blocks.append((False, "[Go on.]"))
    *before, (_, prompt) = _taking_turns(blocks)
    return Told([_message(own, text) for own, text in before], prompt, said[:first])


def _as_heard(said: Said, agent_id: UUID) -> str:
    return said.text if said.agent_id in (None, agent_id) else f"[{said.name}] {said.text}"


def _taking_turns(blocks: Sequence[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Models expect that the two sides take turns."""
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
