"""Whose wallet a call spends from, and on whose behalf: what limits, receipts and reports are about."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Spender:
    user_id: UUID
    api_key_id: UUID | None = None
    agent_id: UUID | None = None
    room_id: UUID | None = None
    turn_id: UUID | None = None

    def scopes(self, model_alias: str) -> dict[str, str]:
        """As the ledger's limits know them."""
        ids = {"api_key": self.api_key_id, "agent": self.agent_id, "room": self.room_id}
        return {name: str(id_) for name, id_ in ids.items() if id_ is not None} | {"model": model_alias}
