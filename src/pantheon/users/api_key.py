"""API keys as their owners see them. The key itself is shown once, when it is made."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pantheon.users.rights import Scope

PREFIX = "pk_"
START_LENGTH = 10
"""So much of a key is stored for people to tell their keys apart: the prefix and 42 of its 256 random bits."""


@dataclass(frozen=True)
class ApiKey:
    id: UUID
    name: str
    scopes: frozenset[Scope]
    monthly_limit_nanocredits: int | None
    """Where both the user and an owner set one, the tighter."""
    spent_this_month_nanocredits: int | None
    """None where there is no such limit, because then nobody counts."""
    key_start: str
    created_at: datetime
    last_used_at: datetime | None
