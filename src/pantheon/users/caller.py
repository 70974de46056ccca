"""Who is calling, and what they may do."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from pantheon.audit import Actor
from pantheon.errors import ForbiddenError
from pantheon.users.rights import Role, Scope


@dataclass(frozen=True)
class Caller:
    user_id: UUID
    email: str | None
    role: Role
    via: Literal["session", "api_key", "token"]
    """`token` is one of the outside issuer."""
    scopes: frozenset[Scope] | None = None
    """What an API key may do; None for the user in person, who may do everything."""
    session_id: UUID | None = None
    api_key_id: UUID | None = None
    ip: str | None = None

    @property
    def actor(self) -> Actor:
        # Named by the way they came and not by their e-mail, because the audit log can never be redacted.
        return Actor(self.user_id, self.via, self.ip)

    def may(self, scope: Scope) -> bool:
        return self.scopes is None or scope in self.scopes

    def require_scope(self, scope: Scope) -> None:
        if not self.may(scope):
            raise ForbiddenError(f"This API key lacks the scope {scope}.")

    def require_in_person(self) -> None:
        """For what an API key must not do, whatever its scopes: a stolen one could make itself permanent."""
        if self.via == "api_key":
            raise ForbiddenError("An API key cannot do this. Sign in instead.")

    def require_admin_read(self) -> None:
        if self.role not in (Role.ANALYST, Role.OWNER):
            raise ForbiddenError
        self.require_scope(Scope.ADMIN)

    def require_admin_change(self) -> None:
        if self.role is not Role.OWNER:
            raise ForbiddenError
        self.require_scope(Scope.ADMIN)
