"""An agent: a model with a name, a role and tools, which people call by its key, as in `@writer`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, func, select

from pantheon.db.engine import Tx
from pantheon.db.tables import agents
from pantheon.errors import ConflictError, InvalidInputError, NotFoundError
from pantheon.turns.rate_cards import card_in_force
from pantheon.workspace import retention

Tool = Literal["search", "file_read"]

MAX_AGENTS = 500
"""That one user may have."""


@dataclass(frozen=True)
class Agent:
    id: UUID
    user_id: UUID
    agent_key: str
    name: str
    model_alias: str
    role_prompt: str
    tool_permissions: Sequence[Tool]
    version: int
    """Rises with each change, so that a turn can tell which agent it was."""
    created_at: datetime
    updated_at: datetime


class AgentFields(TypedDict, total=False):
    """What people decide about an agent."""

    agent_key: str
    name: str
    model_alias: str
    role_prompt: str
    tool_permissions: Sequence[Tool]


COLUMNS = [column for column in agents.c if column.name != "deleted_at"]


def agent_of(row: RowMapping) -> Agent:
    return Agent(**row)


def living(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return agents.c.user_id == user_id, agents.c.deleted_at.is_(None)


def restorable(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return agents.c.user_id == user_id, retention.restorable(agents)


async def get_agent(tx: Tx, agent_id: UUID, *, user_id: UUID, lock: bool = False) -> Agent:
    """Raises NotFoundError, also for another user's and for a deleted one. `lock` keeps others from changing it."""
    query: Any = select(*COLUMNS).where(agents.c.id == agent_id, *living(user_id))
    row = (await tx.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("Agent not found.")
    return agent_of(row)


async def refuse_taken_key(tx: Tx, agent_key: str, *, user_id: UUID, agent_id: UUID) -> None:
    """The user has to be locked. Raises ConflictError when another of their agents has the key."""
    same = func.lower(agents.c.agent_key) == agent_key.lower()
    if await tx.scalar(select(agents.c.id).where(same, agents.c.id != agent_id, *living(user_id))) is not None:
        raise ConflictError("Agent key already exists for this user.")


async def refuse_unknown_model(tx: Tx, model_alias: str) -> None:
    """A model without a rate cannot be called. Raises InvalidInputError."""
    card = await card_in_force(tx)
    if card.find(model_alias) is None:
        known = ", ".join(model.alias for model in card.models)
        raise InvalidInputError(f"model_alias must be one of {known}")
