"""Limits as the wallet shows them, and what one can be set for."""

from dataclasses import dataclass
from uuid import UUID

from pantheon.db.engine import Database
from pantheon.errors import InvalidInputError
from pantheon.turns.limits import MAX_LIMITS, NOUNS, Limit, Scope
from pantheon.turns.list_limits import list_limits
from pantheon.turns.rate_cards import view_rate_card
from pantheon.users.list_api_keys import list_api_keys
from pantheon.workspace.view_agents import list_agents
from pantheon.workspace.view_rooms import list_rooms

_MOST_CHOICES = 200
_WHOLE = "wallet"
PERMILLE = 1000


@dataclass(frozen=True)
class Line:
    limit: Limit
    what: str
    used: int
    """Of PERMILLE, with what is on hold."""
    choice: str
    """What the forms name it by."""


async def read_lines(database: Database, user_id: UUID) -> list[Line]:
    limits, _ = await list_limits(database, user_id=user_id, limit=2 * MAX_LIMITS)
    return [_line(limit) for limit in limits]


def _line(limit: Limit) -> Line:
    used = PERMILLE
    if limit.amount:
        used = min((limit.spent + limit.reserved) * PERMILLE // limit.amount, PERMILLE)
    noun = NOUNS[limit.scope]
    what = "Everything" if limit.scope == _WHOLE else f"{noun[0].upper()}{noun[1:]} {limit.name or limit.scope_id}"
    return Line(limit, what, used, limit.scope if limit.scope_id is None else f"{limit.scope}:{limit.scope_id}")


async def read_choices(database: Database, user_id: UUID) -> dict[str, list[tuple[str, str]]]:
    """By the name of their group: what the form sends, and what people read."""
    card = await view_rate_card(database)
    agents, _ = await list_agents(database, user_id=user_id, limit=_MOST_CHOICES)
    rooms, _ = await list_rooms(database, user_id=user_id, limit=_MOST_CHOICES)
    keys = (await list_api_keys(database, user_id=user_id, limit=_MOST_CHOICES)).api_keys
    return {
        "Models": [(f"model:{model.alias}", model.alias) for model in card.models],
        "Agents": [(f"agent:{agent.id}", agent.name) for agent in agents],
        "Rooms": [(f"room:{room.id}", room.name) for room in rooms],
        "API keys": [(f"api_key:{key.id}", key.name) for key in keys],
    }


def parse_choice(written: str) -> tuple[Scope, str | None]:
    """The scope and the id of what was chosen. Raises InvalidInputError."""
    scope, _, id = written.partition(":")
    if scope not in NOUNS:
        raise InvalidInputError("limit must be for something in the list")
    return scope, id or None
