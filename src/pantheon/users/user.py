"""A user, as the rest of the application sees one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select

from pantheon import audit
from pantheon.audit import Actor
from pantheon.db.engine import Tx
from pantheon.db.tables import users
from pantheon.errors import NotFoundError
from pantheon.settings import Settings
from pantheon.users.rights import Role


@dataclass(frozen=True)
class User:
    id: UUID
    email: str | None
    role: Role
    state: str
    """active, disabled or deleted. Only an active user can prove who they are."""
    created_at: datetime


COLUMNS = (users.c.id, users.c.email, users.c.role, users.c.state, users.c.created_at)


def user_of(row: Row[*tuple[Any, ...]]) -> User:
    return User(row.id, row.email, Role(row.role), row.state, row.created_at)


async def read_user(tx: Tx, user_id: UUID) -> User:
    row = (await tx.execute(select(*COLUMNS).where(users.c.id == user_id))).one_or_none()
    if row is None:
        raise NotFoundError("User not found.")
    return user_of(row)


async def lock_user(tx: Tx, user_id: UUID) -> User:
    """Reads the user and keeps others from changing it until `tx` ends."""
    row = (await tx.execute(select(*COLUMNS).where(users.c.id == user_id).with_for_update())).one_or_none()
    if row is None:
        raise NotFoundError("User not found.")
    return user_of(row)


def effective_role(user_id: UUID, role: Role, settings: Settings) -> Role:
    """ADMIN_USER_IDS makes owners too, so that an operator who locked everybody out can get in again."""
    return Role.OWNER if str(user_id) in settings.admin_user_ids else role


async def record_act(tx: Tx, actor: Actor, action: str, user_id: UUID, **details: Any) -> None:
    """Audits what an operator did to an account; what people do to their own is not written down."""
    if actor.user_id != user_id:
        await audit.record(tx, actor, action, subject=f"user:{user_id}", **details)
