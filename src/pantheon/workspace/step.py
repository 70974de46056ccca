"""What one agent, or the manager of a room, says at one time: a step of a turn."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

from pantheon.money.amounts import format_credits
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.metered_model import MeteredModel
from pantheon.workspace.transcript import MessageState
from pantheon.workspace.turn import Member


@dataclass
class Step:
    number: int
    message_id: UUID
    member: Member
    """Whose model speaks. A manager works with that of an agent, but is not that agent."""
    is_manager: bool
    model: MeteredModel
    text: str = ""
    """All that it said, word for word as it was told: a part of it that begins anew is a paragraph of its own."""
    answer: str = ""
    """What it said in the end, when there were no more tools to call."""
    state: MessageState = "completed"
    used_a_tool: bool = False
    listening: "asyncio.Task[None] | None" = field(default=None, repr=False)
    _begins_anew: bool = field(default=False, repr=False)

    @property
    def name(self) -> str:
        return "Manager" if self.is_manager else self.member.name

    @property
    def who(self) -> dict[str, Any]:
        """As events name the speaker."""
        if self.is_manager:
            return {"agent_id": None, "agent_key": None, "name": self.name}
        return {"agent_id": str(self.member.agent_id), "agent_key": self.member.agent_key, "name": self.name}

    def is_of(self, agent_key: str) -> bool:
        return not self.is_manager and self.member.agent_key.lower() == agent_key.lower()

    def hear(self, event: Any) -> str:
        """What the text has got longer by: empty where the event is about something else."""
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            self._begins_anew = bool(self.text)
        text = _text_of(event)
        if self._begins_anew and (text := text.lstrip("\n")):
            self._begins_anew, text = False, f"\n\n{text}"
        self.text += text
        return text


def bill(calls: Sequence[MeteredCall]) -> dict[str, Any]:
    """As events tell it. What is not settled yet is not in it."""
    settled = [(call.call.id, call.settlement) for call in calls if call.settlement is not None]
    return {
        "usage": {
            "input_tokens": sum(each.usage.input for _, each in settled),
            "output_tokens": sum(each.usage.output for _, each in settled),
        },
        "credits": format_credits(sum(each.charged for _, each in settled)),
        "receipt_ids": [str(id_) for id_, _ in settled],
    }


def storable(text: str) -> str:
    """PostgreSQL takes no NUL, and models and web pages are free to write one."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _text_of(event: Any) -> str:
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return storable(event.part.content)
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return storable(event.delta.content_delta)
    return ""
