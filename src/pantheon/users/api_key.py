"""API keys as their owners see them. The key itself is shown once, when it is made."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pantheon.db.tables import api_keys
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
    key_start: str
    created_at: datetime
    last_used_at: datetime | None


COLUMNS = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.scopes,
    api_keys.c.monthly_limit_credits,
    api_keys.c.key_start,
    api_keys.c.created_at,
    api_keys.c.last_used_at,
)


def api_key_of(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        row.id,
        row.name,
        frozenset(map(Scope, row.scopes)),
        row.monthly_limit_credits,
        row.key_start,
        row.created_at,
        row.last_used_at,
    )
