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

_MOST_MESSAGES = 400
"""That are told one by one."""
_PER_MESSAGE = 16
_GAP = "[Some of what agents said here is left out, because it is too long.]"


@dataclass(frozen=True)
class Told:
    """What is put before a model: `prompt` is the last word, `history` came before it."""

    history: list[ModelMessage]
    prompt: str
    left_out: Sequence[Said]
    """What did not fit, oldest first."""
    tokens: int
    """That it has at most."""


def told_to(agent_id: UUID, said: Sequence[Said], *, tokens: int, summary: Summary | None) -> Told:
    """The latest of what was said that is within `tokens`.

    The last word is in it whatever its length, and so is what the person said in this turn.
    """
    question = next(n for n, each in enumerate(said) if each.turn_index == said[-1].turn_index)
    used = (most_text_tokens(summary.text) if summary else 0) + _size(said[question])
    first = len(said)
    while first > 0 and len(said) - first < _MOST_MESSAGES:
        size = 0 if first - 1 == question else _size(said[first - 1])
        if used + size > tokens and first < len(said):
            break
        used += size
        first -= 1
    kept = list(said[first:])
    blocks = [(each.agent_id == agent_id, _as_heard(each, agent_id)) for each in kept]
    if first > question:
        gap = [(False, _GAP)] if first > question + 1 else []
        blocks = [(False, said[question].text), *gap, *blocks]
    if summary is not None:
        blocks = [(False, f"[Summary of what was said before]\n{summary.text}"), *blocks]
    elif blocks[0][0]:
        blocks = [(False, "[The conversation began earlier.]"), *blocks]
    if blocks[-1][0]:
        blocks.append((False, "[Go on.]"))
    *before, (_, prompt) = _taking_turns(blocks)
    left_out = [each for n, each in enumerate(said[:first]) if n != question]
    return Told([_message(own, text) for own, text in before], prompt, left_out, used)


def _size(said: Said) -> int:
    return most_text_tokens(said.text) + _PER_MESSAGE


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
