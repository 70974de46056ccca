"""A turn that is being worked on: who answers, in which way, and what was set aside for it."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pantheon.money.rate_card import Rate
from pantheon.turns.admit_call import Run
from pantheon.turns.rate_cards import Model
from pantheon.workspace.agents import Agent
from pantheon.workspace.transcript import TurnMode

MOST_OUTPUT = 4096
"""Tokens that an agent may say in one message."""

LEASE = timedelta(seconds=20)
"""A process that works on a turn says so again and again. After this long without a word it is believed dead."""


@dataclass(frozen=True)
class Member:
    """An agent as it was when the turn began."""

    agent_id: UUID
    agent_key: str
    name: str
    model_alias: str
    role_prompt: str
    tool_permissions: tuple[str, ...]
    version: int
    context_tokens: int
    max_output_tokens: int
    rate: Rate = field(compare=False, repr=False)
    """For what is told of costs beforehand: each call is charged by the rate in force when it begins."""

    @classmethod
    def of(cls, agent: Agent, model: Model) -> "Member":
        return cls(
            agent.id,
            agent.agent_key,
            agent.name,
            model.alias,
            agent.role_prompt,
            tuple(agent.tool_permissions),
            agent.version,
            model.context_tokens,
            model.max_output_tokens,
            model.rate,
        )

    def to_json(self) -> dict[str, Any]:
        shown = asdict(self) | {"agent_id": str(self.agent_id)}
        del shown["rate"]
        return shown


@dataclass(frozen=True, kw_only=True)
class OpenTurn:
    """A turn that was begun: all that its work needs to know."""

    id: UUID
    session_id: UUID
    user_id: UUID
    room_id: UUID | None
    api_key_id: UUID | None
    turn_index: int
    mode: TurnMode
    roster: tuple[Member, ...]
    user_input: str
    goal: str | None
    run: Run | None
    ends_at: datetime
